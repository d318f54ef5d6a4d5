from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.prior import ArmPrior


def test_a_prior_scaled_weighs_as_so_many_times_the_observations() -> None:
    prior = ArmPrior(np.array([0.5, 1.0]), np.diag([2.0, 4.0]))
    scaled = prior.scaled(3.0)
    assert (scaled.mean == prior.mean).all()
    assert (scaled.precision == np.diag([6.0, 12.0])).all()
    assert prior.dimension == 2


@pytest.mark.parametrize(
    ("mean", "precision", "rule"),
    [
        ([0.0, 0.0], np.eye(3), "match"),
        ([np.nan, 0.0], np.eye(2), "finite"),
        ([0.0, 0.0], [[1.0, np.inf], [np.inf, 1.0]], "finite"),
        ([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "positive definite"),
    ],
)
def test_a_prior_that_is_no_distribution_is_refused(mean: list[float], precision: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        ArmPrior(np.array(mean), np.array(precision))
