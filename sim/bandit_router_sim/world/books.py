"""The books: every account worked out again from the decisions themselves, by adding up.

Nothing is kept but what the store has answered: the decisions it took, their latest outcomes, the edits it made. A
window's account is a sum over its decisions, so a hold that was lost, settled twice or booked elsewhere shows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import Billing, Outcome
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import BudgetEdit, Level
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
    levels: tuple[Level, ...] = ()
    periods: list[Period] = field(default_factory=list)
    """The windows of its levels, whatever they are called by now."""

    covered_nusd: int = 0
    """The least that has been set aside or booked for it at any time."""

    revision: int = 0
    settled_ms: int | None = None

    @property
    def stands(self) -> bool:
        """Whether its hold is still set aside."""
        return self.outcome.billing is Billing.HELD

    def follow(self, after: Outcome, packed: bytes) -> None:
        """Its outcome has changed."""
        if after.billing is not Billing.HELD:
            self.covered_nusd = min(self.covered_nusd, after.cost_nusd)
        self.outcome, self.packed_outcome, self.revision = after, packed, self.revision + 1

    def is_kept(self, now_ms: int) -> bool:
        """Whether the store must still have the record."""
        return self.settled_ms is None or now_ms < max(self.deadline_ms, self.settled_ms) + self.keep_ms


@dataclass(slots=True, eq=False)
class Period:
    """One window: its limit, its decisions, what resets have written off of each, and the share alerted of last.

    `window`: as it was last called; None for a session.
    """

    limit_nusd: int
    entries: list[Entry] = field(default_factory=list)
    written_off_nusd: dict[str, int] = field(default_factory=dict)
    alerted: int = 0
    window: Window | None = None

    def is_forgotten(self, now_ms: int) -> bool:
        """Whether a session is: with the records of its decisions, as they would have gone without a bill."""
        return all(entry.deadline_ms + entry.keep_ms <= now_ms for entry in self.entries)

    def account(self) -> Account:
        """All counters, added up."""
        standing = [entry for entry in self.entries if entry.stands]
        return Account(
            limit_nusd=self.limit_nusd,
            spent_nusd=sum(self._booked(entry)[0] for entry in self.entries),
            held_nusd=sum(entry.decision.quote.hold_nusd for entry in standing),
            overrun_nusd=sum(self._booked(entry)[1] for entry in self.entries),
            in_flight_nusd=sum(entry.decision.quote.expected_cost_nusd for entry in standing),
            decisions=len(self.entries),
        )

    def reset(self) -> None:
        """What is booked so far is written off, for good."""
        for entry in self.entries:
            off_nusd = self.written_off_nusd.get(entry.decision.decision_id, 0)
            if not entry.stands:
                self.written_off_nusd[entry.decision.decision_id] = max(off_nusd, entry.outcome.cost_nusd)

    def reached(self, percents: Sequence[int]) -> int:
        """The largest of the shares that is used up, in exact fractions."""
        account = self.account()
        used_nusd = account.spent_nusd + account.held_nusd
        return max([p for p in percents if used_nusd >= Fraction(p, 100) * account.limit_nusd], default=0)

    def _booked(self, entry: Entry) -> tuple[int, int]:
        """Spent and overrun of one decision."""
        off_nusd = self.written_off_nusd.get(entry.decision.decision_id, 0)
        if off_nusd:
            left_nusd = max(0, entry.outcome.cost_nusd - off_nusd)
            return left_nusd, left_nusd
        return entry.outcome.cost_nusd, max(0, entry.outcome.cost_nusd - entry.covered_nusd)


@dataclass(slots=True, eq=False)
class Purse:
    """One account: its windows (sessions are some of them) by every name they had, and its trail of edits and alerts.

    `latest`: the window that calls go on in, under its present name since `latest_ms`.
    """

    base_limit_nusd: int
    latest: Period | None = None
    latest_ms: int = 0
    periods: dict[str, Period] = field(default_factory=dict)
    trail: list[tuple[BudgetEdit, Account, Account]] = field(default_factory=list)
    edit_ids: set[str] = field(default_factory=set)
    contexts: list[bytes] = field(default_factory=list)

    def view(self, level: Level) -> Account:
        """The account of a window as it must be shown."""
        period = self._find(level)
        if period is None:
            return Account(self._opening_limit(level))
        return replace(period.account(), limit_nusd=level.cap_nusd) if level.session_id else period.account()

    def shown(self, name: str) -> Period:
        """The window that a name stands for: a total without an end goes on in the present one."""
        return self.latest if name == "fixed:0" and self.latest is not None else self.periods[name]

    def period(self, level: Level, now_ms: int) -> Period:
        """The window, opened if it is not yet; one that is going on goes on under this name."""
        name, window, period = level.charge.window, level.window, self._find(level)
        if period is None:
            period = Period(self._opening_limit(level), window=None if level.session_id else window)
            present = None if self.latest is None else self.latest.window
            if period.window and (present is None or present.start_ms < window.start_ms):
                self.latest, self.latest_ms = period, now_ms
        self.periods[name] = period
        if level.session_id:
            period.limit_nusd = level.cap_nusd
        else:
            self.go_on(level, now_ms)
        return period

    def go_on(self, level: Level, now_ms: int) -> None:
        """After a change of the tenant's rule the present window is called as one of the new rule, by new calls."""
        present, window = self.latest, level.window
        if level.session_id or present is None or not _shares_time(present.window, window):
            return
        assert present.window is not None
        self.periods[window.name] = present
        if present.window.name != window.name and now_ms >= self.latest_ms:
            why = f"{present.window.name} goes on as {window.name}"
            account = present.account()
            note = BudgetEdit(level.account_id, BudgetEditKind.WINDOW, 0, why, "", now_ms)
            self.trail.append((note, account, account))
            present.window, self.latest_ms = window, now_ms

    def _find(self, level: Level) -> Period | None:
        """The window whose money a level's calls take, if there is one yet: the present one, if they share any time."""
        name = level.charge.window
        if not level.session_id and self.latest is not None and _shares_time(self.latest.window, level.window):
            return self.latest
        return self.periods.get(name)

    def edit(self, edit: BudgetEdit, level: Level) -> Account:
        """The account after an edit; one that was made before changes nothing."""
        before = self.view(level)
        if edit.edit_id in self.edit_ids:
            return before
        period = self.period(level, edit.edited_ms)
        if edit.kind is BudgetEditKind.RESET:
            period.reset()
        elif edit.kind is BudgetEditKind.GRANT:
            period.limit_nusd += edit.amount_nusd
        else:
            self.base_limit_nusd = period.limit_nusd = edit.amount_nusd
        period.alerted = min(period.alerted, period.reached(level.alert_percents))
        if edit.edit_id:
            self.edit_ids.add(edit.edit_id)
        after = period.account()
        self.trail.append((replace(edit, edit_id=""), before, after))
        return after

    def alert(self, level: Level, now_ms: int) -> int:
        """The share that must be alerted of now, 0 for none."""
        period = self._find(level)
        percent = 0 if period is None else period.reached(level.alert_percents)
        if period is None or percent <= period.alerted:
            return 0
        period.alerted = percent
        note = BudgetEdit(level.account_id, BudgetEditKind.ALERT, percent, "", "", now_ms)
        self.trail.append((note, period.account(), period.account()))
        return percent

    def _opening_limit(self, level: Level) -> int:
        """One base limit, one more for each idle window since the latest, and what that one has left."""
        window = level.window
        if level.session_id:
            return level.cap_nusd
        latest = self.latest.window if self.latest is not None else None
        if not level.carry_over or latest is None or latest.kind is not window.kind or latest.ordinal >= window.ordinal:
            return self.base_limit_nusd
        assert self.latest is not None
        left_nusd = max(0, self.latest.account().free_nusd)
        return min(MAX_LIMIT_NUSD, self.base_limit_nusd * (window.ordinal - latest.ordinal) + left_nusd)


def level_named(account_id: str, name: str, period: Period) -> Level:
    """A way to ask for the period as it stands."""
    kind, _, rest = name.partition(":")
    if kind == "session":
        return Level(account_id, Window(0), session_id=rest, cap_nusd=period.limit_nusd)
    return Level(account_id, Window.named(name))


def _shares_time(one: Window | None, other: Window) -> bool:
    """Whether two windows are the same or have an instant in common; a fixed total has no end, others have theirs."""
    assert one is not None
    if one.name == other.name:
        return True
    ends = [2**62 if w.name == "fixed:0" else w.end_ms for w in (one, other)]
    if None in ends:  # one that is known by its name alone
        return False
    return max(one.start_ms, other.start_ms) < min(end for end in ends if end is not None)


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

    def forget_sessions(self, now_ms: int) -> None:
        """Sessions end by themselves."""
        for purse in self.purses.values():
            sessions = [name for name in purse.periods if name.startswith("session:")]
            for name in sessions:
                if purse.periods[name].is_forgotten(now_ms):
                    del purse.periods[name]

    def check_law(self, account_id: str, window: str, account: Account, period: Period) -> None:
        """limit = free + held + spent in integers, and every counter is the sum over the window's decisions."""
        parts = (account.free_nusd, account.held_nusd, account.spent_nusd)
        if account.limit_nusd != sum(parts) or any(type(part) is not int for part in parts):
            raise Violation(f"{account_id}: limit {account.limit_nusd} is not free + held + spent = {parts}")
        if account.spent_nusd < 0 or account.held_nusd < 0 or account.overrun_nusd < 0:
            raise Violation(f"{account_id}, window {window}: a counter is negative in {account}")
        expected = period.account()
        if account != expected:
            raise Violation(f"{account_id}, window {window}: the store has {account}, the books {expected}")
