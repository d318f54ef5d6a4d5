"""A price of money that knows what the last of it can buy.

An arm can be called only while its hold is free. Where a hold is large beside the limit, the last of the money is out
of that arm's reach: with a worst case of 0.16 USD and a limit of 1.2 USD, the last seventh. At an even pace it is then
spent on the arms of smaller holds, and what these do not need is left over.

Let H be the largest hold, q and c the mean reward and cost of calls of the other arms when money has no price. Then
the last ρH of the money M pay for ρH/c of the n calls left, and each of those before may cost

    (M − H) / (n − ρH/c)

which is more than M/n where c < M/n. It is right to plan so where a call's reward, less what its cost is worth, is no
more than what the others earn without a price,

    V(b) − λb < q + ε        V: reward that the pace b buys, λ: its price

since the reward of n₁ calls now and n − n₁ at the end, n₁V((M − H)/n₁) + (n − n₁)q, then falls in n₁. (ε: rewards are
estimates, and money that is left over helps nobody.) The figures are measured: docs/decisions/0062-the-last-hold.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import Reservoir, Standing, Weigh
from bandit_router.core.regression import FloatArray
from bandit_router.core.replan import solve_price

LARGE = 0.005
"""A largest hold of less than this share of the money left is none to plan for."""

SMALLER = 0.5
"""Arms whose holds are less than this share of the largest one are the others."""

PLANNED = 0.9
"""ρ: the end begins after a call, so with less than H."""

LONGEST_END = 0.45
"""Where the others would need more than this share of the window's calls to spend H, there is no planning for it."""

MOST_HASTE = 1.5
"""The planned pace is at most so many times the even one."""

ENOUGH = 0.002
"""ε, in reward of a call."""


@dataclass(frozen=True, slots=True, eq=False)
class _Choices:
    """Recent queries and how some of the arms are drawn for them."""

    reservoir: Reservoir
    weigh: Weigh

    @classmethod
    def among(cls, standing: Standing, reservoir: Reservoir, arms: tuple[int, ...]) -> _Choices:
        """Those of the arms at these positions alone."""
        if standing.holds is None or len(arms) == reservoir.costs_usd.shape[1]:
            return cls(reservoir, standing.weigh)
        return cls(reservoir.of_arms(arms), standing.holds.weigher(arms))

    def price_at(self, pace_usd: float, *, hint: float) -> float:
        """The price at which calls cost `pace_usd`."""
        return solve_price(self.reservoir, pace_usd=pace_usd, weigh=self._shares, hint=hint)

    def means(self, price: float) -> tuple[float, float]:
        """Mean reward and mean cost in USD of a call at this price."""
        shares = self._shares(self.reservoir.rewards - price * self.reservoir.costs_usd)
        rewards, costs = self.reservoir.expected_rewards, self.reservoir.costs_usd
        return float(np.vdot(shares, rewards)) / len(shares), float(np.vdot(shares, costs)) / len(shares)

    def _shares(self, scores: FloatArray) -> FloatArray:
        return self.weigh(scores, self.reservoir.deviations)


def price_to_the_end(standing: Standing, *, hint: float) -> float:
    """λ in reward per USD at which the money left lasts for the calls left, the last of it included.

    Arms whose hold is more than all money left are not reckoned with. `hint` as in `solve_price`.
    """
    reservoir, holds = standing.reservoir(), standing.holds
    if holds is None:
        return _Choices(reservoir, standing.weigh).price_at(standing.pace_usd, hint=hint)
    within = tuple(np.flatnonzero(holds.usd <= standing.left_usd).tolist())
    choices = _Choices.among(standing, reservoir, within or tuple(range(len(holds.usd))))
    price = choices.price_at(standing.pace_usd, hint=hint)
    if price == 0.0 or not within or standing.pace_usd < standing.own_pace_usd:
        return price
    largest_usd = float(holds.usd[list(within)].max())
    others = tuple(arm for arm in within if holds.usd[arm] < SMALLER * largest_usd)
    if not others or largest_usd < LARGE * standing.left_usd:
        return price
    at_the_end = _Choices.among(standing, reservoir, others).means(0.0)
    pace_usd = _planned_pace(standing, largest_usd, at_the_end[1])
    reward, cost_usd = choices.means(price)
    if pace_usd <= standing.pace_usd or reward - price * cost_usd >= at_the_end[0] + ENOUGH:
        return price
    return choices.price_at(pace_usd, hint=price)


def _planned_pace(standing: Standing, hold_usd: float, end_cost_usd: float) -> float:
    """What calls may cost until a hold of `hold_usd` no longer fits, if those after it cost `end_cost_usd`."""
    even_usd, end_usd = standing.own_pace_usd, PLANNED * hold_usd
    if end_cost_usd >= even_usd or hold_usd > LONGEST_END * standing.calls * end_cost_usd:
        return even_usd
    calls = standing.calls_left - end_usd / end_cost_usd
    most_usd = MOST_HASTE * even_usd
    return most_usd if calls <= 0.0 else min(most_usd, (standing.left_usd - hold_usd) / calls)
