"""`replan`: at every solution the price at which the policy's own choices cost the money left per call left."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.core.budget_policies.protocol import Charge, LinearCharge, PriceMark, Standing
from bandit_router.core.endgame import price_to_the_end
from bandit_router.core.savings import PastPrices, held_price, past_with

SOLVE_EVERY = 64

_KIND = -6.0
"""The number in front of its memory; `threshold` and `primal_dual` have others."""


@dataclass(frozen=True, slots=True)
class Replan:
    """Implements `BudgetPolicy`."""

    solve_every: int = SOLVE_EVERY
    follows_pace: bool = True

    def solve(self, mark: PriceMark, standing: Standing) -> PriceMark:
        """The price at which the policy's own choices cost the money left per call left, with an eye to its end.

        Where that is far below what it was before in the window, it falls less. Remembers `PastPrices`.
        """
        past = PastPrices.before(mark.remembered_by(_KIND))
        solution = price_to_the_end(standing, hint=mark.price_per_usd)
        price = held_price(solution, past, standing)
        past = past_with(past, solution.price, standing, since=standing.decisions - mark.decisions)
        memory = (_KIND, *past.remembered) if past is not None else ()
        return PriceMark(price, standing.decisions, standing.snapshot_version, memory)

    def charge(self, mark: PriceMark) -> Charge:
        """Linear in dollars."""
        return LinearCharge(mark.price_per_usd)
