from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bandit_router.core.budget_policies.protocol import PriceMark, Reservoir, Standing
from bandit_router.core.budget_policies.replan import Replan
from bandit_router.core.endgame import Solution, price_to_the_end
from bandit_router.core.replan import MAX_PRICE_PER_USD, Choices
from bandit_router.core.savings import (
    FALLEN,
    FALLEN_MEMORY,
    LEAST_PACE,
    LEAST_WORTH,
    MEMORY,
    PastPrices,
    held_price,
    past_with,
)
from tests.unit.core.test_endgame import CALLS, LIMIT_USD, queries, standing

MIDDLE = CALLS // 2
EARLY = round(0.1 * CALLS)
LIMIT_NUSD = round(LIMIT_USD * 1e9)
ONE_STEP = 1.002
"""Prices are a tenth of a percent apart."""


def at(decisions: int, *, limit_usd: float = LIMIT_USD) -> Standing:
    """A window spent evenly so far, whose holds bind nothing."""
    spent_usd = limit_usd * decisions / CALLS
    return standing(spent_usd, decisions, limit_usd=limit_usd, holds_usd=None)


def solution_at(decisions: int) -> Solution:
    return price_to_the_end(at(decisions), hint=0.0)


def cost_usd(solution: Solution, price: float) -> float:
    return solution.choices.means(solution.choices.shares(price))[1]


def without(arm: int, asked: Standing) -> Standing:
    """The same where one arm earns nothing any more."""
    found = asked.reservoir()
    rewards = found.rewards.copy()
    rewards[:, arm] = 0.0
    changed = Reservoir(rewards, found.costs_usd, rewards, found.deviations)
    return replace(asked, reservoir=lambda: changed)


def test_a_price_that_rises_is_followed_at_once() -> None:
    solution = solution_at(MIDDLE)
    assert held_price(solution, PastPrices(0.5 * solution.price, LIMIT_NUSD), at(MIDDLE)) == solution.price


def test_a_price_that_falls_by_less_than_half_is_followed_at_once() -> None:
    solution = solution_at(MIDDLE)
    half = PastPrices(solution.price / FALLEN, LIMIT_NUSD)
    assert held_price(solution, half, at(MIDDLE)) == solution.price
    assert held_price(solution, PastPrices(1.001 * half.mean_per_usd, LIMIT_NUSD), at(MIDDLE)) > solution.price


def test_a_price_that_falls_far_is_held_at_a_share_of_the_mean() -> None:
    solution, mean = solution_at(EARLY), 2.01 * solution_at(EARLY).price
    held = 6.75 * (EARLY / CALLS) * (1 - EARLY / CALLS) ** 2 * mean
    assert solution.price < held
    assert cost_usd(solution, held) > LEAST_PACE * solution.pace_usd
    assert held_price(solution, PastPrices(mean, LIMIT_NUSD), at(EARLY)) == held


@pytest.mark.parametrize("times", [100.0, 1e6])
def test_however_far_it_fell_calls_cost_the_least_pace(times: float) -> None:
    solution = solution_at(MIDDLE)
    price = held_price(solution, PastPrices(times * solution.price, LIMIT_NUSD), at(MIDDLE))
    assert price > solution.price
    assert cost_usd(solution, price) <= LEAST_PACE * solution.pace_usd < cost_usd(solution, price / ONE_STEP)


@pytest.mark.parametrize("decisions", [0, CALLS])
def test_at_the_ends_of_the_window_nothing_is_held(decisions: int) -> None:
    now = replace(at(decisions), calls_left=max(1e-9, CALLS - decisions))
    solution = solution_at(MIDDLE)
    assert held_price(solution, PastPrices(1e3 * solution.price, LIMIT_NUSD), now) == solution.price


def test_less_is_held_towards_the_ends_of_the_window() -> None:
    solution = solution_at(MIDDLE)
    past = PastPrices(2.5 * solution.price, LIMIT_NUSD)
    first, early, third, late, last = (held_price(solution, past, at(CALLS * n // 100)) for n in (3, 9, 33, 65, 80))
    assert solution.price == first < early < third > late > last == solution.price


def test_where_money_is_worth_little_none_is_saved() -> None:
    solution = solution_at(MIDDLE)
    mean = 1.01 * LEAST_WORTH / solution.pace_usd
    cheap = replace(solution, price=0.1 * mean)
    assert held_price(cheap, PastPrices(mean, LIMIT_NUSD), at(MIDDLE)) > cheap.price
    assert held_price(cheap, PastPrices(0.98 * mean, LIMIT_NUSD), at(MIDDLE)) == cheap.price


def test_money_that_has_no_price_is_not_held() -> None:
    free = Solution(0.0, Choices(queries(0, 64), at(0).weigh), 1.0)
    assert held_price(free, PastPrices(100.0, LIMIT_NUSD), at(MIDDLE)) == 0.0


def test_nothing_is_held_without_a_past_or_under_another_limit() -> None:
    solution = solution_at(MIDDLE)
    assert held_price(solution, None, at(MIDDLE)) == solution.price
    assert held_price(solution, PastPrices(1e3 * solution.price, LIMIT_NUSD - 1), at(MIDDLE)) == solution.price


def test_the_past_is_the_mean_of_the_prices_at_first() -> None:
    past = None
    for decisions, price in ((0, 8.0), (10, 5.0), (20, 3.0)):
        past = past_with(past, price, at(decisions), since=10)
    assert past is not None
    assert past.mean_per_usd == pytest.approx((5.0 + 3.0) / 2)


@pytest.mark.parametrize(("price", "memory"), [(4.0, MEMORY), (12.0, MEMORY), (3.9, FALLEN_MEMORY)])
def test_later_prices_weigh_less_while_they_have_fallen_by_more_than_half(price: float, memory: float) -> None:
    past = past_with(PastPrices(8.0, LIMIT_NUSD), price, at(CALLS - 64), since=64)
    assert past is not None
    whole = min(CALLS - 64, memory * CALLS)
    assert past.mean_per_usd == pytest.approx(8.0 + (price - 8.0) * 64 / whole)


def test_another_limit_begins_anew_and_a_price_that_does_not_suffice_says_nothing() -> None:
    past = PastPrices(8.0, LIMIT_NUSD)
    assert past_with(past, 3.0, at(MIDDLE, limit_usd=2 * LIMIT_USD), since=64) == PastPrices(3.0, 2 * LIMIT_NUSD)
    assert past_with(past, MAX_PRICE_PER_USD, at(MIDDLE), since=64) == past
    assert past_with(None, MAX_PRICE_PER_USD, at(0), since=0) is None


@pytest.mark.parametrize("since", [0, -5])
def test_a_price_counts_for_one_decision_at_least_and_for_the_whole_mean_at_most(since: int) -> None:
    past = PastPrices(8.0, LIMIT_NUSD)
    once, all_at_once = (past_with(past, 6.0, at(100), since=count) for count in (since, 1_000))
    assert once == PastPrices(8.0 - 2.0 / 100, LIMIT_NUSD)
    assert all_at_once == PastPrices(6.0, LIMIT_NUSD)


def test_the_least_pace_is_a_share_of_the_pace_that_was_solved_for() -> None:
    found = solution_at(MIDDLE)
    slow = replace(found, pace_usd=0.5 * found.pace_usd, price=found.choices.price_at(0.5 * found.pace_usd))
    price = held_price(slow, PastPrices(1e3 * slow.price, LIMIT_NUSD), at(MIDDLE))
    assert cost_usd(slow, price) <= LEAST_PACE * slow.pace_usd < cost_usd(slow, price / ONE_STEP)


def test_for_the_pace_of_an_organisation_nothing_is_held_and_nothing_remembered() -> None:
    now = at(MIDDLE)
    bound = replace(now, pace_above_usd=0.9 * now.own_pace_usd)
    solution, past = price_to_the_end(bound, hint=0.0), PastPrices(1e3, LIMIT_NUSD)
    assert held_price(solution, past, now) > solution.price
    assert held_price(solution, past, bound) == solution.price
    assert past_with(past, 5.0, bound, since=64) == past
    assert past_with(None, 5.0, bound, since=64) is None


def test_replan_remembers_the_prices_that_it_solved_not_those_it_held() -> None:
    before = Replan().solve(PriceMark(0.0, 0, -1), at(MIDDLE - 64))
    memory = (before.memory[0], 4 * before.price_per_usd, float(LIMIT_NUSD))
    after = Replan().solve(replace(before, memory=memory), at(MIDDLE))
    solved = price_to_the_end(at(MIDDLE), hint=0.0).price
    past = past_with(PastPrices(memory[1], LIMIT_NUSD), solved, at(MIDDLE), since=64)
    assert after.price_per_usd > solved
    assert past is not None
    assert after.memory == (before.memory[0], *past.remembered)


def test_what_is_remembered_is_read_back() -> None:
    past = PastPrices(12.5, LIMIT_NUSD)
    assert PastPrices.before(past.remembered) == past
    assert PastPrices.before(()) is None


def test_replan_saves_while_money_buys_less_and_spends_it_when_it_buys_more_again() -> None:
    """A third of the window the middle arm is as good as before, a third it is worth nothing, a third as before."""
    spent_usd, mark, paces = 0.0, PriceMark(0.0, 0, -1), []
    for number in range(0, CALLS, 50):
        now = standing(spent_usd, number, limit_usd=0.3, holds_usd=None)
        if CALLS <= 3 * number < 2 * CALLS:
            now = without(1, now)
        mark = Replan().solve(mark, now)
        choices = Choices(now.reservoir(), now.weigh)
        cost = choices.means(choices.shares(mark.price_per_usd))[1]
        spent_usd += 50 * cost
        paces.append(cost / (0.3 / CALLS))
    third = len(paces) // 3
    before, bad, after = sum(paces[:third]), sum(paces[third : 2 * third]), sum(paces[2 * third :])
    assert bad < 0.9 * before
    assert after > 1.1 * before
    assert 0.98 < spent_usd / 0.3 <= 1.001
    assert math.isfinite(mark.price_per_usd)
