from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.money import TokenPrices
from bandit_router.core.pool_prior import LONE_RELATIVE, borrowed, priors_for
from bandit_router.core.projection import cosine_projection
from bandit_router.core.resources import Arm
from tests.builders_of_priors import arm_prior, pool_prior, relative_prior


def arm(arm_id: str, *, family: str = "", tier: str = "") -> Arm:
    return Arm(arm_id, TokenPrices(1, 1, 1), family=family, tier=tier)


def test_a_prior_of_nobody_or_of_arms_that_do_not_fit_together_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one arm"):
        pool_prior(arms={})
    with pytest.raises(ValueError, match="different lengths"):
        pool_prior(arms={"a": arm_prior(0.5, size=3), "b": arm_prior(0.5, size=4)})
    with pytest.raises(ValueError, match="projection makes 3"):
        pool_prior(projection=cosine_projection(5, 3))


def test_arms_without_a_prior_borrow_from_family_and_tier_then_family_then_tier() -> None:
    known = [arm("small", family="f", tier="cheap"), arm("large", family="f", tier="dear")]
    strangers = {
        "both": arm("both", family="f", tier="dear"),
        "family": arm("family", family="f", tier="middle"),
        "tier": arm("tier", family="g", tier="cheap"),
        "nobody": arm("nobody", family="g", tier="middle"),
        "plain": arm("plain"),
    }
    prior = pool_prior()
    found = priors_for(prior, [*known, *strangers.values()])
    assert set(found) == {"small", "large", "both", "family", "tier"}
    assert found["both"].mean == pytest.approx(prior.arms["large"].mean)
    assert found["family"].mean == pytest.approx(0.5 * (prior.arms["small"].mean + prior.arms["large"].mean))
    assert found["tier"].mean == pytest.approx(prior.arms["small"].mean)


def test_the_prior_of_an_arm_that_left_the_pool_is_nobodys_relative() -> None:
    assert priors_for(pool_prior(), [arm("new", family="f")]) == {}


def test_relatives_that_differ_are_borrowed_from_with_care() -> None:
    alike = borrowed([arm_prior(0.5), arm_prior(0.51)])
    different = borrowed([arm_prior(0.1), arm_prior(0.9)])
    assert np.all(np.diag(different.precision) < np.diag(alike.precision))
    lone = borrowed([arm_prior(0.5)])
    assert lone.precision == pytest.approx(LONE_RELATIVE * arm_prior(0.5).precision)


def test_what_is_borrowed_from_arms_known_by_battles_is_marginal() -> None:
    prior = relative_prior()
    known = [arm("small", family="f"), arm("large", family="f")]
    found = priors_for(prior, [*known, arm("new", family="f")])
    assert found["small"].relative is prior.arms["small"].relative
    plain = [replace(prior.arms[one.arm_id], relative=None) for one in known]
    assert found["new"].relative is None
    assert (found["new"].precision == borrowed(plain).precision).all()
