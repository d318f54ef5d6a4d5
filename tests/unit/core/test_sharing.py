"""Slopes shared by the arms of a pool."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.regression import RegressionSums
from bandit_router.core.sharing import common_slopes

DIMENSION = 5


def observed(*, slopes: np.ndarray, level: float, count: int, seed: int) -> RegressionSums:
    random = np.random.Generator(np.random.PCG64(seed))
    sums = RegressionSums.zeros(DIMENSION)
    for _ in range(count):
        x = np.append(1.0, random.normal(size=DIMENSION - 1))
        sums.add(x, level + float(x[1:] @ slopes))
    return sums


def test_slopes_that_all_arms_share_are_found_whatever_their_levels() -> None:
    slopes = np.array([0.5, -1.0, 0.0, 2.0])
    arms = [observed(slopes=slopes, level=level, count=200, seed=n) for n, level in enumerate((3.0, 7.0, -2.0))]
    found = common_slopes(arms, level=0.0, bias_precision=1e-9, ridge=1e-9)
    np.testing.assert_allclose(found, slopes, atol=1e-8)


@given(level=st.floats(-5, 5), counts=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_slopes_are_those_of_the_joint_regression_with_an_intercept_per_arm(level: float, counts: list[int]) -> None:
    """The profiled normal equations against one big ridge over [intercepts, slopes]."""
    slopes = np.array([1.0, 0.3, -0.7, 0.0])
    arms = [observed(slopes=slopes, level=n, count=count, seed=n) for n, count in enumerate(counts)]
    size = len(arms) + DIMENSION - 1
    gram, moment = np.zeros((size, size)), np.zeros(size)
    for n, arm in enumerate(arms):
        columns = [n, *range(len(arms), size)]
        gram[np.ix_(columns, columns)] += arm.gram
        moment[columns] += arm.moment
    gram += np.diag([0.3] * len(arms) + [1.0] * (DIMENSION - 1))
    moment[: len(arms)] += 0.3 * level
    joint = np.linalg.solve(gram, moment)[len(arms) :]
    found = common_slopes(arms, level=level, bias_precision=0.3, ridge=1.0)
    np.testing.assert_allclose(found, joint, atol=1e-9)


def test_arms_never_observed_have_no_slopes_and_no_say() -> None:
    empty = RegressionSums.zeros(DIMENSION)
    assert not common_slopes([empty], level=5.7, bias_precision=0.3, ridge=1.0).any()
    seen = observed(slopes=np.ones(4), level=1.0, count=20, seed=0)
    alone = common_slopes([seen], level=1.0, bias_precision=0.3, ridge=1.0)
    np.testing.assert_allclose(common_slopes([seen, empty], level=1.0, bias_precision=0.3, ridge=1.0), alone)
