"""A price of money that knows what the last of it can buy.

An arm can be called only while its hold is free. Where a hold is large beside the limit, the last of the money is out
of that arm's reach: with a worst case of 0.16 USD and a limit of 1.2 USD, the last seventh. At an even pace it is then
spent on the arms of smaller holds, and what these do not need is left over.

Let H be the largest hold, d what a call of its arm costs, q and c the mean reward and cost of calls of the other arms
when money has no price. The end begins after a call with about H − d left, which pays for (H − d)/c of the n calls
left. Each of those before may then cost

    (M − H) / (n − (H − d)/c)

of the money M left, which is more than M/n where c < M/n. It is right to plan so where a call's reward, less what its
cost is worth, is no more than what the others earn without a price,

    V(b) − λb < q + ε        V: reward that the pace b buys, λ: its price

since the reward of n₁ calls now and n − n₁ at the end, n₁V((M − H)/n₁) + (n − n₁)q, then falls in n₁. (ε: rewards are
estimates, and money that is left over helps nobody.) The figures are measured: docs/decisions/0062-the-last-hold.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import Holds, Reservoir, Standing
from bandit_router.core.replan import Choices

LEAST_QUERIES = 64
"""With fewer recent queries than these, what calls cost and earn is not known well enough."""

SMALLER = 0.5
"""Arms whose holds are less than this share of the largest one are the others."""

LEAST_WASTE = 0.02
"""Less than this share of the limit left over at an even pace is none to plan for."""

YIELDING = 0.5
"""One of the others must cost no more than this share of c: it takes over where the end falls short of money."""

LONGEST_END = 0.45
"""Where the others would need more than this share of the window's calls to spend H, there is no planning for it."""

MOST_HASTE = 1.5
"""The planned pace is at most so many times the even one."""

ENOUGH = 0.002
"""ε, in reward of a call."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A solved price: λ in reward per USD, for which choices, and at which pace in USD per call."""

    price: float
    choices: Choices
    pace_usd: float


def price_to_the_end(standing: Standing, *, hint: float) -> Solution:
    """The price at which the money left lasts for the calls left, the last of it included.

    Arms whose hold is more than all money left are not reckoned with. `hint` as in `solve_price`.
    """
    reservoir = standing.reservoir()
    choices = Choices(reservoir, standing.weigh)
    if standing.holds is None:
        return _solved(choices, standing.pace_usd, hint=hint)
    holds = standing.holds()
    within = tuple(np.flatnonzero(holds.usd <= standing.left_usd).tolist())
    if 0 < len(within) < len(holds.usd):
        choices = _among(within, reservoir, holds)
    even = _solved(choices, standing.pace_usd, hint=hint)
    if even.price == 0.0 or not within or standing.is_bound_above:
        return even
    end = _end_of(standing, reservoir, holds, within)
    if end is None or _net_reward(choices, even.price) >= end.reward + ENOUGH:
        return even
    pace_usd = min(standing.pace_above_usd, max(standing.own_pace_usd, _planned_pace(standing, end)))
    return _solved(choices, pace_usd, hint=even.price)


def _solved(choices: Choices, pace_usd: float, *, hint: float) -> Solution:
    return Solution(choices.price_at(pace_usd, hint=hint), choices, pace_usd)


@dataclass(frozen=True, slots=True)
class _End:
    """The end that a largest hold makes, all in USD but `reward`.

    `hold_usd`: H; `money_usd`: H − d; `cost_usd` and `reward`: c and q, of a call of the other arms.
    """

    hold_usd: float
    money_usd: float
    cost_usd: float
    reward: float


def _end_of(standing: Standing, reservoir: Reservoir, holds: Holds, within: tuple[int, ...]) -> _End | None:
    """The end to plan for, with the arms at positions `within`; None where there is none."""
    holds_usd, costs_usd = holds.usd, reservoir.costs_usd.mean(axis=0)
    hold_usd = float(holds_usd[list(within)].max())
    others = tuple(arm for arm in within if holds_usd[arm] < SMALLER * hold_usd)
    if not others or len(reservoir.costs_usd) < LEAST_QUERIES:
        return None
    others_alone = _among(others, reservoir, holds)
    reward, cost_usd = others_alone.means(others_alone.shares(0.0))
    money_usd = hold_usd - float(max(costs_usd[arm] for arm in within if arm not in others))
    waste_usd = money_usd * (1.0 - cost_usd / standing.own_pace_usd)
    if waste_usd < LEAST_WASTE * standing.limit_usd or hold_usd > LONGEST_END * standing.calls * cost_usd:
        return None
    if min(costs_usd[arm] for arm in others) > YIELDING * cost_usd:
        return None
    return _End(hold_usd, money_usd, cost_usd, reward)


def _among(arms: tuple[int, ...], reservoir: Reservoir, holds: Holds) -> Choices:
    """The choices where there are the arms at these positions alone."""
    return Choices(reservoir.of_arms(arms), holds.weigher(arms))


def _net_reward(choices: Choices, price: float) -> float:
    """Mean reward of a call at this price, less what its cost is worth."""
    reward, cost_usd = choices.means(choices.shares(price))
    return reward - price * cost_usd


def _planned_pace(standing: Standing, end: _End) -> float:
    """What calls may cost, in USD, until the end begins."""
    calls, most_usd = standing.calls_left - end.money_usd / end.cost_usd, MOST_HASTE * standing.own_pace_usd
    return most_usd if calls <= 0.0 else min(most_usd, (standing.left_usd - end.hold_usd) / calls)
