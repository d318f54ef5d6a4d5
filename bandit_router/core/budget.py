"""Budget arithmetic of one window of one account, in integer nano-USD.

The law, at every moment:  limit = free + held + spent,  free >= 0 at every hold.
`free` is derived and never stored, so the first half cannot be broken by a forgotten update. `overrun` counts what
bills exceeded what had been set aside for them ever since (`core.outcomes`). Only holds add to what is covered, and
only as far as there is something free, so as long as the limit is not lowered

    held + spent <= limit + overrun,

and without an overrun spend never passes the limit, whatever is corrected, cancelled, reset or billed late.

A decision's money moves in one account or several, all alike and in one step: the tenant's, its parent's above it,
and that of the session inside the tenant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from bandit_router.core.money import MAX_LIMIT_NUSD, format_usd
from bandit_router.core.outcomes import MoneyChange


class BudgetEditKind(Enum):
    """An audited change of a tenant's budget. The values are what the stores keep."""

    SET_LIMIT = "set_limit"
    GRANT = "grant"
    RESET = "reset"
    ALERT = "alert"
    """Not an edit: a share of the limit (`amount`, in per cent) was reached. Noted in the same trail."""

    WINDOW = "window"
    """Not an edit: the tenant's rule has changed, and the window goes on as one of the new rule with all it has."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One window of one account. `window` is a window's name, or 'session:ID' for a session of the tenant."""

    account_id: str
    window: str


def session_window(session_id: str) -> str:
    """Name of the window of a session in its tenant's account."""
    return f"session:{session_id}"


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
        assert kind not in (BudgetEditKind.ALERT, BudgetEditKind.WINDOW)
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


def opening_limit(base_limit_nusd: int, latest: Account | None, *, windows_since: int) -> int:
    """Limit of a window as it opens with carry-over: the tenant's, plus what the windows before have left.

    `latest` is the one opened last before (None: there was no budget yet, so nothing is left), `windows_since` how many
    windows ago that was: those in between were idle and have left their whole limit to the next.
    """
    if latest is None:
        return base_limit_nusd
    idle_nusd = base_limit_nusd * max(0, windows_since - 1)
    return min(MAX_LIMIT_NUSD, base_limit_nusd + idle_nusd + max(0, latest.free_nusd))


def reached(account: Account, percents: Iterable[int]) -> int:
    """The largest of the shares of the limit (in per cent) that held and spent money have reached; 0 for none."""
    used_nusd = account.held_nusd + account.spent_nusd
    return max((p for p in percents if used_nusd * 100 >= account.limit_nusd * p), default=0)
