"""What is saved can still be spent: a price of money that does not follow every fall of what money is worth.

When money suddenly buys less, because a model has silently got worse or a good one is away, the price at which the
money left is spent falls, and the window's money goes into answers that are hardly better. If things were as before
again, the same money would buy more. So a solved price λ that is less than FALLEN · λ̄ is not taken, but

    27/4 e (1 − e)² · λ̄        e: the share of the window's calls that is past, λ̄: the mean of its latest prices

or the price at which calls cost no more than LEAST_PACE of the pace, if that is lower. There is little to go by at the
window's beginning, and little to save for at its end. (Where nobody knows how many calls are left, as many as there
were are expected, and e is a half.) What waiting can cost is λ per USD saved, and λ is low then. A price that rises is
followed at once. A pace that is an organisation's says nothing of the tenant's window: then no price is held, and none
remembered. The figures are measured: docs/decisions/0063-what-is-saved-can-still-be-spent.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.core.budget_policies.protocol import Standing
from bandit_router.core.endgame import Solution
from bandit_router.core.replan import MAX_PRICE_PER_USD

FALLEN = 0.5
"""A price that is this share of the mean or more has not fallen far."""

LEAST_PACE = 0.4
"""No price is held that is higher than needed for calls to cost this share of the pace."""

LEAST_WORTH = 0.01
"""Reward that the pace must be worth at the mean price: where money is worth less, none is saved."""

MEMORY = 1 / 16
"""Share of the window's calls over which prices are averaged: as models learn prices fall, too, but not suddenly."""

FALLEN_MEMORY = 2.0
"""The same while the price has fallen."""


@dataclass(frozen=True, slots=True)
class PastPrices:
    """The weighted mean of a window's solved prices, in reward per USD, under one limit."""

    mean_per_usd: float
    limit_nusd: int

    @classmethod
    def before(cls, memory: tuple[float, ...]) -> PastPrices | None:
        """What `remembered` has made of it; None of nothing."""
        return cls(memory[0], int(memory[1])) if memory else None

    def is_above(self, price: float) -> bool:
        """Whether this price has fallen."""
        return price < FALLEN * self.mean_per_usd

    @property
    def remembered(self) -> tuple[float, ...]:
        """As numbers."""
        return self.mean_per_usd, float(self.limit_nusd)


def past_with(past: PastPrices | None, price: float, standing: Standing, *, since: int) -> PastPrices | None:
    """The past with the price that was solved now, `since` decisions after the last.

    Under another limit money is worth something else, so the past begins anew. A price at which calls cost more than
    the pace all the same says nothing, nor does one for the pace of an organisation.
    """
    if price >= MAX_PRICE_PER_USD or standing.is_bound_above:
        return past
    if past is None or past.limit_nusd != standing.limit_nusd:
        return PastPrices(price, standing.limit_nusd)
    memory = FALLEN_MEMORY if past.is_above(price) else MEMORY
    whole = max(1.0, min(standing.decisions, memory * standing.calls))
    weight = min(1.0, max(1, since) / whole)
    return PastPrices(past.mean_per_usd + weight * (price - past.mean_per_usd), standing.limit_nusd)


def held_price(solution: Solution, past: PastPrices | None, standing: Standing) -> float:
    """The solved price, or a higher one that money may be worth again."""
    if past is None or past.limit_nusd != standing.limit_nusd or standing.is_bound_above:
        return solution.price
    if solution.price == 0.0 or not past.is_above(solution.price):
        return solution.price
    if past.mean_per_usd * solution.pace_usd < LEAST_WORTH:
        return solution.price
    elapsed = standing.decisions / standing.calls
    held = 6.75 * elapsed * (1.0 - elapsed) ** 2 * past.mean_per_usd
    if held <= solution.price:
        return solution.price
    most = solution.choices.price_at(LEAST_PACE * solution.pace_usd, hint=solution.price)
    return max(solution.price, min(held, most))
