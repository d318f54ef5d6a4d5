from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bandit_router.core.frontier import concave_envelope, hindsight_reward, static_mix_reward
from tests.builders import PROPERTY, generator

Array = npt.NDArray[np.float64]


def outcomes_of(seed: int, count: int, arms: int) -> tuple[Array, Array]:
    source = generator(seed)
    costs = np.geomspace(1e-3, 1.0, arms) * source.uniform(0.5, 2.0, size=(count, arms))
    rewards = np.clip(np.linspace(0.3, 0.9, arms) + 0.2 * source.normal(size=(count, arms)), 0, 1)
    return costs, rewards


cases = st.builds(outcomes_of, st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4))
budgets = st.floats(1e-4, 2.0)


def best_share(costs: Array, rewards: Array, spend_usd: float, *, must_answer: bool) -> float | None:
    """The linear programme, by HiGHS: one distribution over arms per row, mean cost at most `spend_usd`."""
    count, arms = costs.shape
    rows = np.kron(np.eye(count), np.ones(arms))
    money = costs.ravel()[None, :]
    limit = np.array([spend_usd * count])
    if must_answer:
        found = linprog(-rewards.ravel(), A_ub=money, b_ub=limit, A_eq=rows, b_eq=np.ones(count))
    else:
        found = linprog(-rewards.ravel(), A_ub=np.vstack([money, rows]), b_ub=np.append(limit, np.ones(count)))
    return -found.fun / count if found.status == 0 else None


@PROPERTY
@given(cases, budgets)
def test_hindsight_is_the_optimum_of_the_linear_programme(case: tuple[Array, Array], spend_usd: float) -> None:
    expected = best_share(*case, spend_usd, must_answer=False)
    assert hindsight_reward(*case, spend_usd=spend_usd) == pytest.approx(expected, abs=1e-7)


@PROPERTY
@given(cases, budgets)
def test_a_static_mix_that_answers_all_is_the_optimum_over_mean_outcomes(
    case: tuple[Array, Array], spend_usd: float
) -> None:
    costs, rewards = (values.mean(axis=0, keepdims=True) for values in case)
    expected = best_share(costs, rewards, spend_usd, must_answer=True)
    if expected is not None:
        assert static_mix_reward(*case, spend_usd=spend_usd) == pytest.approx(expected, abs=1e-7)


@PROPERTY
@given(cases, budgets)
def test_hindsight_is_at_least_the_static_mix(case: tuple[Array, Array], spend_usd: float) -> None:
    mix = static_mix_reward(*case, spend_usd=spend_usd)
    assert hindsight_reward(*case, spend_usd=spend_usd) >= mix - 1e-9


@PROPERTY
@given(cases)
def test_the_envelope_rises_ever_less_steeply(case: tuple[Array, Array]) -> None:
    costs, rewards = case[0][0], case[1][0]
    hull = concave_envelope(costs, rewards)
    assert (np.diff(costs[hull]) > 0).all()
    assert (np.diff(rewards[hull]) > 0).all()
    slopes = np.diff(rewards[hull]) / np.diff(costs[hull])
    assert (np.diff(slopes) < 0).all()


def test_below_the_cheapest_arm_only_a_part_of_the_queries_is_answered() -> None:
    assert static_mix_reward(np.array([[2.0]]), np.array([[0.8]]), spend_usd=0.5) == pytest.approx(0.2)
