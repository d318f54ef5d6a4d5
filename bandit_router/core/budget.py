"""Budget arithmetic of one tenant window, in integer nano-USD.

The law, at every moment:  limit = free + held + spent,  free >= 0 at every hold.
`free` is derived and never stored, so the first half cannot be broken by a forgotten update; `held` may never be
negative; `overrun` counts what bills exceeded their holds. Free falls below zero by that, by a limit lowered below
what is gone, and where a bill comes after its hold has been released and held anew by others: a correction upwards, or
usage after a cancellation or a released expiry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from bandit_router.core.money import MAX_LIMIT_NUSD, format_usd
from bandit_router.core.outcomes import MoneyChange


class BudgetEditKind(Enum):
    """An audited change of a tenant's budget. The values are what the stores keep."""

    SET_LIMIT = "set_limit"
    GRANT = "grant"
    RESET = "reset"


class LimitError(ValueError):
    """A window limit outside [0, MAX_LIMIT_NUSD]."""


@dataclass(frozen=True, slots=True)
class Account:
    """Counters of one window. `decisions` counts holds; `in_flight_nusd` is the expected cost of those unsettled."""

    limit_nusd: int
    spent_nusd: int = 0
    held_nusd: int = 0
    overrun_nusd: int = 0
    in_flight_nusd: int = 0
    decisions: int = 0

    @property
    def free_nusd(self) -> int:
        """What may still be held; negative after an overrun or a limit lowered below what is gone."""
        return self.limit_nusd - self.held_nusd - self.spent_nusd

    def fits(self, hold_nusd: int) -> bool:
        """Whether a hold of this size keeps free >= 0."""
        return 0 <= hold_nusd <= self.free_nusd

    def hold(self, hold_nusd: int, *, expected_cost_nusd: int) -> Account:
        """The account after a decision's hold. The caller has checked `fits`, or counts without refusing (shadow)."""
        return Account(
            limit_nusd=self.limit_nusd,
            spent_nusd=self.spent_nusd,
            held_nusd=self.held_nusd + hold_nusd,
            overrun_nusd=self.overrun_nusd,
            in_flight_nusd=self.in_flight_nusd + expected_cost_nusd,
            decisions=self.decisions + 1,
        )

    def change(self, money: MoneyChange) -> Account:
        """The account after a settlement, expiry or correction."""
        return Account(
            limit_nusd=self.limit_nusd,
            spent_nusd=self.spent_nusd + money.spent_nusd,
            held_nusd=self.held_nusd + money.held_nusd,
            overrun_nusd=self.overrun_nusd + money.overrun_nusd,
            in_flight_nusd=self.in_flight_nusd + money.in_flight_nusd,
            decisions=self.decisions,
        )

    def edit(self, kind: BudgetEditKind, amount_nusd: int) -> Account:
        """The account after an audited edit: a new limit, a grant on top of it, or spend written off."""
        if kind is BudgetEditKind.RESET:
            return replace(self, spent_nusd=0, overrun_nusd=0)
        limit_nusd = amount_nusd if kind is BudgetEditKind.SET_LIMIT else self.limit_nusd + amount_nusd
        return replace(self, limit_nusd=check_limit(limit_nusd))


def check_limit(limit_nusd: int) -> int:
    """`limit_nusd` itself if a window may have it; raises LimitError naming the rule otherwise."""
    if not 0 <= limit_nusd <= MAX_LIMIT_NUSD:
        raise LimitError(
            f"limit_nusd must be between 0 and {MAX_LIMIT_NUSD} nano-USD ({format_usd(MAX_LIMIT_NUSD)} USD), "
            f"got {limit_nusd}"
        )
    return limit_nusd


def opening_limit(base_limit_nusd: int, previous: Account | None, *, carry_over: bool) -> int:
    """Limit of a window as it opens: the tenant's, plus what the window before left when it carries over."""
    if not carry_over or previous is None:
        return base_limit_nusd
    return min(MAX_LIMIT_NUSD, base_limit_nusd + max(0, previous.free_nusd))
