"""`none`: money has no price. Holds still keep the tenant within its limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bandit_router.core.budget_policies.protocol import Charge, LinearCharge, PriceMark, Standing


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Implements `BudgetPolicy`."""

    solve_every: int = 0
    follows_pace: bool = False

    def solve(self, mark: PriceMark, standing: Standing) -> PriceMark:
        """The price 0."""
        return replace(
            mark, price_per_usd=0.0, decisions=standing.decisions, snapshot_version=standing.snapshot_version
        )

    def charge(self, mark: PriceMark) -> Charge:
        """Nothing is taken off."""
        return LinearCharge(mark.price_per_usd)
