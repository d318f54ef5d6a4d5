"""`replan`: at every solution the price at which the policy's own choices cost the money left per call left."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.core.budget_policies.protocol import Charge, LinearCharge, PriceMark, Standing
from bandit_router.core.endgame import price_to_the_end

SOLVE_EVERY = 64


@dataclass(frozen=True, slots=True)
class Replan:
    """Implements `BudgetPolicy`."""

    solve_every: int = SOLVE_EVERY
    follows_pace: bool = True

    def solve(self, mark: PriceMark, standing: Standing) -> PriceMark:
        """The price at which the policy's own choices cost the money left per call left, with an eye to its end."""
        price = price_to_the_end(standing, hint=mark.price_per_usd)
        return PriceMark(price, standing.decisions, standing.snapshot_version)

    def charge(self, mark: PriceMark) -> Charge:
        """Linear in dollars."""
        return LinearCharge(mark.price_per_usd)
