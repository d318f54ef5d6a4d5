from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.explorations.igw import NEAR, NearWeights, inverse_gap_weights
from tests.builders import PROPERTY, THOROUGH, generator

Array = npt.NDArray[np.float64]

scores = st.lists(
    st.one_of(st.floats(-2, 2), st.sampled_from([0.0, 1e-12, -1e-12, -1e6, 1e6, -1e3])), min_size=1, max_size=16
).map(lambda values: np.array(values, dtype=np.float64))
taus = st.sampled_from([1e-3, 1.0, 100.0, 1500.0, 1e6])


def by_bisection(row: Array, tau: float) -> Array:
    """The definition: halve [1, K] until ζ is found."""
    gaps = tau * (row.max() - row)
    low, high = 1.0, float(len(row))
    for _ in range(200):
        middle = 0.5 * (low + high)
        if (1 / (middle + gaps)).sum() > 1:
            low = middle
        else:
            high = middle
    return 1 / (high + gaps)


@THOROUGH
@given(scores, taus)
def test_weights_are_probabilities_that_sum_to_one(row: Array, tau: float) -> None:
    weights = inverse_gap_weights(row, tau)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


@THOROUGH
@given(scores, taus)
def test_weights_equal_the_bisection_that_defines_them(row: Array, tau: float) -> None:
    assert inverse_gap_weights(row, tau) == pytest.approx(by_bisection(row, tau), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-3, 1.0, 1e6])
def test_weights_of_a_full_pool_of_arms_are_exact_too(spread: float) -> None:
    row = generator(1).normal(size=64) * spread
    weights = inverse_gap_weights(row, 1500.0)
    assert weights == pytest.approx(by_bisection(row, 1500.0), rel=1e-9, abs=1e-15)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


@PROPERTY
@given(scores, taus)
def test_a_better_score_never_has_a_smaller_weight(row: Array, tau: float) -> None:
    ordered = inverse_gap_weights(np.sort(row), tau)
    assert (np.diff(ordered) >= 0).all()


@PROPERTY
@given(scores, taus)
def test_the_best_arm_has_at_least_an_even_share(row: Array, tau: float) -> None:
    assert inverse_gap_weights(row, tau).max() >= (1 - 1e-12) / len(row)


@PROPERTY
@given(scores, taus, st.data())
def test_infeasible_arms_get_nothing_and_leave_the_others_as_without_them(
    row: Array, tau: float, data: st.DataObject
) -> None:
    feasible = np.array(data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row))))
    feasible[data.draw(st.integers(0, len(row) - 1))] = True
    weights = inverse_gap_weights(np.where(feasible, row, -np.inf), tau)
    assert (weights[~feasible] == 0).all()
    assert weights[feasible] == pytest.approx(inverse_gap_weights(row[feasible], tau), rel=1e-9)


@PROPERTY
@given(st.lists(scores.filter(lambda row: len(row) >= 3).map(lambda row: row[:3]), min_size=1, max_size=20), taus)
def test_a_batch_is_weighed_row_by_row(rows: list[Array], tau: float) -> None:
    batch = inverse_gap_weights(np.array(rows), tau)
    assert batch == pytest.approx(np.array([inverse_gap_weights(row, tau) for row in rows]), rel=1e-9)


@PROPERTY
@given(scores, taus, st.floats(-10, 10))
def test_only_differences_of_scores_matter(row: Array, tau: float, shift: float) -> None:
    row = np.round(row, 3)
    assert inverse_gap_weights(row + shift, tau) == pytest.approx(inverse_gap_weights(row, tau), rel=1e-3)


@pytest.mark.parametrize("score", [0.0, -1e6, 1e6])
def test_a_single_arm_is_certain(score: float) -> None:
    assert inverse_gap_weights(np.array([score]), 1500.0) == [1.0]


@pytest.mark.parametrize("gap", [0.0, 1e-12])
def test_arms_that_cannot_be_told_apart_share_evenly(gap: float) -> None:
    assert inverse_gap_weights(np.array([1.0, 1.0 - gap]), 1500.0) == pytest.approx([0.5, 0.5], abs=1e-8)


def test_a_hopeless_arm_keeps_the_inverse_of_its_gap() -> None:
    weights = inverse_gap_weights(np.array([1e6, 0.0]), 1000.0)
    assert weights[1] == pytest.approx(1e-9, rel=1e-6)


@THOROUGH
@given(scores, taus)
def test_a_single_query_is_weighed_as_it_is_among_others(row: Array, tau: float) -> None:
    among = inverse_gap_weights(np.array([row, row - 1.0]), tau)[0]
    assert inverse_gap_weights(row, tau) == pytest.approx(among, rel=1e-9, abs=1e-15)


def test_an_arm_that_is_infeasible_is_never_chosen() -> None:
    assert inverse_gap_weights(np.array([0.5, -np.inf, 0.5]), 100.0).tolist() == [0.5, 0.0, 0.5]


def moving_scores(seed: int, *, arms: int, prices: list[float]) -> list[Array]:
    source = generator(seed)
    rewards, costs = source.normal(size=(40, arms)), source.uniform(size=(40, arms))
    return [rewards - price * costs for price in prices]


@PROPERTY
@given(st.integers(0, 10**6), st.integers(1, 9), st.lists(st.floats(0, 50), min_size=1, max_size=5), taus)
def test_weights_found_from_those_of_the_last_scores_are_the_weights(
    seed: int, arms: int, prices: list[float], tau: float
) -> None:
    """Whatever the scores were before: nearby, far away, or other queries."""
    near = NearWeights(tau)
    near(generator(seed).normal(size=(3, arms)), np.empty(0), lambda _: np.empty(0))
    for moved in moving_scores(seed, arms=arms, prices=prices):
        found = near(moved, np.empty(0), lambda _: np.empty(0))
        assert found == pytest.approx(inverse_gap_weights(moved, tau), rel=10 * NEAR, abs=1e-15)
        assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
