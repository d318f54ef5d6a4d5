"""The books: every account worked out again from the decisions themselves, by adding up.

Nothing is kept but what the store has answered: the decisions it took, their latest outcomes, the edits it made. A
window's account is a sum over its decisions, so a hold that was lost, settled twice or booked elsewhere shows at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import Billing, Outcome
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import BudgetEdit
from bandit_router_sim.world.failure import Violation

MAX_LIMIT_NUSD = 2**53


@dataclass(slots=True, eq=False)
class Entry:
    """One decision: what was promised, and its latest outcome."""

    decision: Decision
    packed: bytes
    outcome: Outcome
    packed_outcome: bytes
    free_nusd: int
    deadline_ms: int
    keep_ms: int
    revision: int = 0
    settled_ms: int | None = None

    @property
    def stands(self) -> bool:
        """Whether its hold is still set aside."""
        return self.outcome.billing is Billing.HELD

    def is_kept(self, now_ms: int) -> bool:
        """Whether the store must still have the record."""
        return self.settled_ms is None or now_ms < max(self.deadline_ms, self.settled_ms) + self.keep_ms


@dataclass(slots=True, eq=False)
class Period:
    """One window: its limit, its decisions, and what resets have written off."""

    limit_nusd: int
    entries: list[Entry] = field(default_factory=list)
    spent_off_nusd: int = 0
    overrun_off_nusd: int = 0

    def account(self) -> Account:
        """All counters, added up."""
        standing = [entry for entry in self.entries if entry.stands]
        outcomes = [entry.outcome for entry in self.entries]
        return Account(
            limit_nusd=self.limit_nusd,
            spent_nusd=sum(outcome.cost_nusd for outcome in outcomes) - self.spent_off_nusd,
            held_nusd=sum(entry.decision.quote.hold_nusd for entry in standing),
            overrun_nusd=sum(max(0, o.cost_nusd - o.hold_nusd) for o in outcomes) - self.overrun_off_nusd,
            in_flight_nusd=sum(entry.decision.quote.expected_cost_nusd for entry in standing),
            decisions=len(self.entries),
        )


@dataclass(slots=True, eq=False)
class Purse:
    """One tenant's windows and the edits made to them, with the account before and after."""

    base_limit_nusd: int
    first_start_ms: int | None = None
    periods: dict[int, Period] = field(default_factory=dict)
    edits: list[tuple[BudgetEdit, Account, Account]] = field(default_factory=list)
    contexts: list[bytes] = field(default_factory=list)

    def view(self, window: Window, *, carry_over: bool) -> Account:
        """The account of a window as it must be shown."""
        period = self.periods.get(window.start_ms)
        return period.account() if period else Account(self._opening_limit(window, carry_over=carry_over))

    def period(self, window: Window, *, carry_over: bool) -> Period:
        """The window, opened if it is not yet."""
        if window.start_ms not in self.periods:
            self.periods[window.start_ms] = Period(self._opening_limit(window, carry_over=carry_over))
            if self.first_start_ms is None:
                self.first_start_ms = window.start_ms
        return self.periods[window.start_ms]

    def edit(self, edit: BudgetEdit, window: Window, *, carry_over: bool) -> Account:
        """The account after an edit."""
        before = self.view(window, carry_over=carry_over)
        period = self.period(window, carry_over=carry_over)
        if edit.kind is BudgetEditKind.RESET:
            period.spent_off_nusd += before.spent_nusd
            period.overrun_off_nusd += before.overrun_nusd
        elif edit.kind is BudgetEditKind.GRANT:
            period.limit_nusd += edit.amount_nusd
        else:
            self.base_limit_nusd = period.limit_nusd = edit.amount_nusd
        after = period.account()
        self.edits.append((edit, before, after))
        return after

    def _opening_limit(self, window: Window, *, carry_over: bool) -> int:
        start_ms = window.previous_start_ms
        if not carry_over or start_ms is None or self.first_start_ms is None or start_ms < self.first_start_ms:
            return self.base_limit_nusd
        before = self.periods.get(start_ms)
        left_nusd = self.base_limit_nusd if before is None else before.account().free_nusd
        return min(MAX_LIMIT_NUSD, self.base_limit_nusd + max(0, left_nusd))


@dataclass(slots=True, eq=False)
class Books:
    """All tenants, decisions and request ids."""

    purses: dict[str, Purse] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    requests: dict[tuple[str, str], Entry] = field(default_factory=dict)
    founded: set[str] = field(default_factory=set)
    """Tenants whose creation has been answered."""

    def decided(self, tenant_id: str, request_id: str, now_ms: int) -> Entry | None:
        """The decision that a request id stands for, as long as the store must remember it."""
        entry = self.requests.get((tenant_id, request_id)) if request_id else None
        return entry if entry is not None and now_ms < entry.deadline_ms + entry.keep_ms else None

    def check_law(self, tenant_id: str, start_ms: int, account: Account) -> None:
        """limit = free + held + spent in integers, and every counter is the sum over the decisions."""
        parts = (account.free_nusd, account.held_nusd, account.spent_nusd)
        if account.limit_nusd != sum(parts) or any(type(part) is not int for part in parts):
            raise Violation(f"{tenant_id}: limit {account.limit_nusd} is not free + held + spent = {parts}")
        expected = self.purses[tenant_id].periods[start_ms].account()
        if account != expected:
            raise Violation(f"{tenant_id}, window {start_ms}: the store has {account}, the books {expected}")
