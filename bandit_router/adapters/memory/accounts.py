"""An account in memory, with its windows: which one a level's money is in, and what a new one opens with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from bandit_router.core.budget import Account, BudgetEditKind, opening_limit
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import AUDIT_ENTRIES, RECENT_CONTEXTS, AuditEntry, BudgetEdit, BudgetState, Level


@dataclass(slots=True, eq=False)
class Opened:
    """A window that was opened; `window` is what it is called now. `alerted`: the share told of last.

    `expires_ms`: when a session is forgotten.
    """

    window: Window
    account: Account
    price: PriceMark | None = None
    alerted: int = 0
    reset: int = 0
    expires_ms: int | None = None

    @property
    def state(self) -> BudgetState:
        """The window as it is told about."""
        return BudgetState(self.window, self.account, self.price)

    def as_seen(self, level: Level) -> BudgetState:
        """The same, under the name by which it was asked for."""
        return self.state if level.window.name == self.window.name else replace(self.state, window=level.window)


@dataclass(slots=True, eq=False)
class Tenant:
    """What is kept per account; a tenant closed and opened again is a new object. `resets` counts them.

    `windows`: by every name that they have had. `latest`: the present one, `latest_ms`: since when under its name.
    """

    base_limit_nusd: int
    generation: int
    resets: int = 0
    latest: Opened | None = None
    latest_ms: int = 0
    windows: dict[str, Opened] = field(default_factory=dict)
    audit: deque[AuditEntry] = field(default_factory=lambda: deque(maxlen=AUDIT_ENTRIES))
    audited: int = 0
    edits: dict[str, tuple[BudgetEditKind, int, int]] = field(default_factory=dict)
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT_CONTEXTS))

    def view(self, level: Level, now_ms: int) -> Opened:
        """The level's window, or what it would open with: the present one, if that runs on in it."""
        name, latest = level.charge.window, self.latest
        if latest is not None and not level.session_id and _runs_on_in(latest.window, level.window):
            return latest
        opened = self.windows.get(name)
        if opened is not None and (opened.expires_ms is None or opened.expires_ms > now_ms):
            return opened
        return Opened(level.window, Account(level.cap_nusd if level.session_id else self._opening_limit(level)))

    def put(self, level: Level, opened: Opened, now_ms: int) -> None:
        """The level's window as it was viewed is used: opened, if it is not yet."""
        self.go_on_as(level, opened, now_ms)
        is_opening = level.charge.window not in self.windows
        self.windows[level.charge.window] = opened
        is_later = self.latest is None or self.latest.window.start_ms < level.window.start_ms
        if is_opening and is_later and not level.session_id:
            self.latest, self.latest_ms = opened, now_ms

    def go_on_as(self, level: Level, opened: Opened, now_ms: int) -> None:
        """The present window goes on under the level's name, if it bears another, with all that it has.

        A call from before it took the name that it bears is charged to it, and leaves it that name.
        """
        window = level.window
        if opened is not self.latest or level.session_id or not opened.window.overlaps(window):
            return
        if opened.window.name == window.name:
            return
        self.windows[window.name] = opened
        if now_ms < self.latest_ms:
            return
        why = f"{opened.window.name} goes on as {window.name}"
        opened.window, self.latest_ms = window, now_ms
        edit = BudgetEdit(level.account_id, BudgetEditKind.WINDOW, 0, why, "", now_ms)
        self.note(edit, opened.account, opened.account)

    def note(self, edit: BudgetEdit, before: Account, after: Account) -> None:
        """One more line of the audit trail."""
        self.audited += 1
        self.audit.append(AuditEntry(f"{self.audited}-0", replace(edit, edit_id=""), before, after))

    def _opening_limit(self, level: Level) -> int:
        latest, window, base_nusd = self.latest, level.window, self.base_limit_nusd
        if latest is None or not level.carry_over or latest.window.kind is not window.kind:
            return base_nusd
        windows_since = window.ordinal - latest.window.ordinal
        return opening_limit(base_nusd, latest.account, windows_since=windows_since) if windows_since > 0 else base_nusd


def _runs_on_in(latest: Window, window: Window) -> bool:
    return latest.name == window.name or latest.overlaps(window)
