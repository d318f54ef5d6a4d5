from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.explorations.igw import inverse_gap_weights
from bandit_router_sim.ope.policies import (
    FixedMix,
    PricedPolicy,
    Recorded,
    Situations,
    fixed_arm,
    logging_policy,
    uniform_mix,
)
from tests.builders import PROPERTY, generator
from tests.unit.sim.ope.ope_logs import ARMS, small_log


def situations(seed: int = 0, *, rows: int = 40) -> Situations:
    """Random quotes; the first arm is always feasible, the others in half of the rows."""
    random = generator(seed)
    feasible = random.random((rows, 3)) < 0.5
    feasible[:, 0] = True
    return Situations(np.ones((rows, 1)), random.random((rows, 3)), 0.01 * random.random((rows, 3)), feasible)


@PROPERTY
@given(st.integers(0, 1000), st.floats(0.0, 1e4), st.floats(0.1, 1e5))
def test_every_policy_spreads_one_over_the_feasible_arms(seed: int, price: float, tau: float) -> None:
    given_rows = situations(seed)
    for policy in (PricedPolicy(price, tau), uniform_mix(3), FixedMix("mix", (0.2, 0.3, 0.5))):
        probabilities = policy(given_rows)
        assert np.allclose(probabilities.sum(axis=1), 1.0)
        assert (probabilities[~given_rows.feasible] == 0.0).all()
        assert (probabilities >= 0.0).all()


def test_the_priced_family_is_the_weighting_that_the_product_serves() -> None:
    given_rows = situations()
    for row in range(5):
        open_arms = np.flatnonzero(given_rows.feasible[row])
        scores = given_rows.expected_rewards[row] - 50.0 * given_rows.expected_costs_usd[row]
        served = inverse_gap_weights(scores[open_arms], 300.0)
        assert np.allclose(PricedPolicy(50.0, 300.0)(given_rows)[row, open_arms], served)


def test_expected_cost_falls_as_the_price_rises() -> None:
    given_rows = situations(rows=400)
    spend = [
        float(np.sum(PricedPolicy(price, 500.0)(given_rows) * given_rows.expected_costs_usd))
        for price in (0.0, 10.0, 100.0, 1000.0)
    ]
    assert spend == sorted(spend, reverse=True)


def test_a_fixed_arm_stays_where_it_is_not_feasible_so_that_the_log_can_be_refused() -> None:
    given_rows = situations()
    assert np.array_equal(fixed_arm(ARMS, "large")(given_rows), np.tile([0.0, 0.0, 1.0], (40, 1)))


def test_an_arm_that_the_log_does_not_have_is_named() -> None:
    with pytest.raises(KeyError, match="huge"):
        fixed_arm(ARMS, "huge")


def test_a_missing_quote_of_a_feasible_arm_leaves_the_policy_undefined_there_only() -> None:
    given_rows = situations()
    given_rows.expected_rewards[3, 0] = np.nan
    infeasible = np.argwhere(~given_rows.feasible)[0]
    given_rows.expected_costs_usd[tuple(infeasible)] = np.nan
    undefined = np.isnan(PricedPolicy(10.0)(given_rows)).any(axis=1)
    assert np.flatnonzero(undefined).tolist() == [3]


def test_the_logging_policy_is_what_the_log_recorded_and_fits_that_log_only() -> None:
    log = small_log(rows=20)
    assert logging_policy(log)(Situations.of(log)) is log.propensities
    with pytest.raises(ValueError, match="recorded for 20 rows"):
        Recorded("other", log.propensities)(situations())
