from __future__ import annotations

import math

import numpy as np
import pytest

from bandit_router.core.budget_policies.primal_dual import (
    MAX_LOG_MULTIPLIER,
    MIRROR_START,
    LogCharge,
    make_primal_dual,
)
from bandit_router.core.budget_policies.protocol import LinearCharge, PriceMark, Reservoir, Standing
from bandit_router.core.budget_policies.registry import BUDGET_POLICIES, parse_budget_policy
from bandit_router.core.spec import SpecError

START = PriceMark(0.0, 0, -1)
BUDGET_NUSD = 10**6
BUDGET_USD = BUDGET_NUSD / 1e9


def reservoir() -> Reservoir:
    rewards, costs = np.array([[0.5, 0.6], [0.5, 0.6]]), np.array([[0.001, 0.1], [0.003, 0.1]])
    return Reservoir(rewards, costs, rewards, np.zeros_like(rewards))


def standing(committed_nusd: int, decisions: int) -> Standing:
    """1,000 calls of BUDGET_NUSD each."""
    return Standing(1000 * BUDGET_NUSD, committed_nusd, decisions, 1000.0 - decisions, 1, reservoir, lambda s, _: s)


def prices(text: str, ratios: list[float]) -> list[float]:
    """Prices as calls of so many budgets each come in."""
    policy, mark, committed, found = parse_budget_policy(text), START, 0.0, []
    mark = policy.solve(mark, standing(0, 0))
    for number, ratio in enumerate(ratios, start=1):
        committed += ratio * BUDGET_NUSD
        mark = policy.solve(mark, standing(round(committed), number))
        found.append(mark.price_per_usd * BUDGET_USD)
    return found


def test_the_gradient_step_is_as_written() -> None:
    smoothed, multiplier, expected = 1.0, 0.0, []
    ratios = [3.0, 2.0, 0.0, 0.0, 0.0, 0.5]
    for ratio in ratios:
        smoothed += 0.5 * (ratio - smoothed)
        multiplier = max(0.0, multiplier + 0.1 * (smoothed - 1.0))
        expected.append(multiplier)
    assert prices("primal_dual:mirror=0,step=0.1,smoothing=0.5", ratios) == pytest.approx(expected)


def test_the_mirror_step_multiplies() -> None:
    (found,) = prices("primal_dual:step=0.1,smoothing=1", [3.0])
    assert found == pytest.approx(MIRROR_START * math.exp(0.2))


@pytest.mark.parametrize("text", ["primal_dual", "primal_dual:mirror=0"])
def test_spend_above_the_budget_raises_the_price_and_below_it_lowers_it(text: str) -> None:
    rising = prices(text, [2.0] * 50)
    assert rising == sorted(rising)
    assert rising[-1] > rising[0]
    falling = prices(text, [2.0] * 50 + [0.2] * 200)
    assert falling[-1] < falling[60]


def test_calls_seen_late_are_stepped_one_by_one() -> None:
    policy = make_primal_dual(BUDGET_POLICIES["primal_dual"].defaults)
    mark = policy.solve(START, standing(0, 0))
    late = policy.solve(mark, standing(20 * BUDGET_NUSD, 10)).price_per_usd * BUDGET_USD
    assert late == pytest.approx(prices("primal_dual", [2.0] * 10)[-1])


def test_a_solution_without_a_new_call_changes_nothing() -> None:
    policy = parse_budget_policy("primal_dual")
    mark = policy.solve(START, standing(5 * BUDGET_NUSD, 3))
    assert policy.solve(mark, standing(5 * BUDGET_NUSD, 3)) == mark


def test_the_literal_charge_is_logarithmic_and_bounded() -> None:
    policy = parse_budget_policy("primal_dual:mirror=0,log=1,step=1,smoothing=1")
    mark = policy.solve(policy.solve(START, standing(0, 0)), standing(1000 * BUDGET_NUSD, 1))
    charge = policy.charge(mark)
    assert charge == LogCharge(MAX_LOG_MULTIPLIER, 0.002, 0.1)
    costs_nusd = np.array([10**6, 2 * 10**6, 10**8, 10**9])
    assert charge.scores(np.full(4, 0.5), costs_nusd) == pytest.approx([0.5, 0.5, -4.5, -4.5])
    assert mark.price_per_usd == pytest.approx(MAX_LOG_MULTIPLIER / (BUDGET_USD * math.log(50)))


def test_the_usual_charge_is_linear() -> None:
    policy = parse_budget_policy("primal_dual")
    mark = policy.solve(START, standing(0, 0))
    assert policy.charge(mark) == LinearCharge(mark.price_per_usd)


def test_a_limit_of_nothing_has_a_price_all_the_same() -> None:
    nothing = Standing(0, 0, 5, 10.0, 1, reservoir, lambda s, _: s)
    assert math.isfinite(parse_budget_policy("primal_dual").solve(START, nothing).price_per_usd)


@pytest.mark.parametrize(
    "text",
    ["primal_dual:step=0", "primal_dual:smoothing=1.5", "primal_dual:mirror=2", "primal_dual:log=0.5"],
)
def test_a_pacer_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_budget_policy(text)
