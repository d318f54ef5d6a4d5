"""The ledger in memory: the reference for what every other store must do, and the simulator's store.

A method that runs without awaiting is atomic, so there are no locks. Bytes are kept by reference.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bandit_router.adapters.memory.accounts import Opened, Tenant
from bandit_router.adapters.memory.deadlines import Deadlines
from bandit_router.adapters.memory.events import MemoryEventLog
from bandit_router.core.budget import Account, BudgetEditKind, Charge, check_limit, reached
from bandit_router.core.outcomes import money_between
from bandit_router.core.partition import partition_of
from bandit_router.core.windows import Window
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import (
    EDIT_KEEP_MS,
    AccountMissing,
    AlreadyDecided,
    AuditEntry,
    BudgetAlert,
    BudgetEdit,
    BudgetState,
    DecisionRecord,
    DoesNotFit,
    DueDecision,
    EditIdTaken,
    Held,
    HoldRequest,
    HoldResult,
    Level,
    OutcomeCommit,
    largest_hold,
)

_Key = tuple[str, str]


@dataclass(slots=True)
class _Paying:
    """One account that a decision is charged to; `resets` as of its last booking, and what they have written off."""

    tenant: Tenant
    window: Opened
    resets: int = 0
    written_off_nusd: int = 0


@dataclass(slots=True)
class _Stored:
    """A decision record; `expires_ms` is None while its hold stands."""

    record: DecisionRecord
    paying: tuple[_Paying, ...]
    deadline_ms: int
    keep_ms: int
    expires_ms: int | None = None


class MemoryLedger:
    """Implements `Ledger`."""

    def __init__(self, clock: Clock, events: MemoryEventLog) -> None:
        self._clock = clock
        self._events = events
        self._tenants: dict[str, Tenant] = {}
        self._records: dict[_Key, _Stored] = {}
        self._requests: dict[_Key, tuple[str, int]] = {}
        self._due = Deadlines()
        self._defaults = Deadlines()
        self._record_expiry: list[tuple[int, _Key]] = []
        self._request_expiry: list[tuple[int, _Key]] = []
        self._session_expiry: list[tuple[int, _Key]] = []

    async def open_account(self, tenant_id: str, limit_nusd: int, generation: int) -> None:
        """See `Ledger.open_account`."""
        check_limit(limit_nusd)
        known = self._tenants.get(tenant_id)
        if known is None or known.generation < generation:
            self._tenants[tenant_id] = Tenant(limit_nusd, generation)

    async def close_account(self, tenant_id: str, generation: int) -> None:
        """See `Ledger.close_account`."""
        known = self._tenants.get(tenant_id)
        if known is not None and known.generation <= generation:
            del self._tenants[tenant_id]

    async def base_limit(self, tenant_id: str) -> int:
        """See `Ledger.base_limit`."""
        return self._tenant(tenant_id).base_limit_nusd

    async def generation(self, tenant_id: str) -> int:
        """See `Ledger.generation`."""
        return self._tenant(tenant_id).generation

    async def hold(self, request: HoldRequest) -> HoldResult:
        """See `Ledger.hold`."""
        self._forget_expired()
        tenants = [self._tenant(level.account_id) for level in request.levels]
        windows = [self._view(tenant, level) for tenant, level in zip(tenants, request.levels, strict=True)]
        for level, opened in zip(request.levels, windows, strict=True):
            if level.session_id:
                opened.account = replace(opened.account, limit_nusd=level.cap_nusd)
        known = self._known(request)
        if known is not None:
            return AlreadyDecided(known.record, _states(request.levels, windows))
        free_nusd, short = largest_hold(request.levels, [opened.account for opened in windows])
        pairs = zip(request.levels, windows, strict=True)
        if not all(level.shadow or opened.account.fits(request.hold_nusd) for level, opened in pairs):
            assert short is not None
            for tenant, level, opened in zip(tenants, request.levels, windows, strict=True):
                tenant.go_on_as(level, opened, request.held_ms)
            alerts = self._alerts(request, tenants, windows)
            return DoesNotFit(_states(request.levels, windows), free_nusd=free_nusd, short=short, alerts=alerts)
        for tenant, level, opened in zip(tenants, request.levels, windows, strict=True):
            tenant.put(level, opened, request.held_ms)
            opened.account = opened.account.hold(request.hold_nusd, expected_cost_nusd=request.expected_cost_nusd)
            if level.session_id:
                self._remember_session(level, opened, request.deadline_ms + request.keep_ms)
        windows[0].price = request.price
        alerts = self._alerts(request, tenants, windows)
        return Held(self._record(tenants, windows, request, free_nusd), _states(request.levels, windows), alerts)

    async def read(self, tenant_id: str, decision_id: str) -> DecisionRecord | None:
        """See `Ledger.read`."""
        stored = self._live((tenant_id, decision_id))
        return None if stored is None else stored.record

    async def find(self, tenant_id: str, request_id: str) -> DecisionRecord | None:
        """See `Ledger.find`."""
        stored = self._requested(tenant_id, request_id)
        return None if stored is None else stored.record

    async def commit(self, commit: OutcomeCommit) -> BudgetState | None:
        """See `Ledger.commit`."""
        stored = self._live((commit.tenant_id, commit.decision_id))
        if stored is None or (stored.record.revision, stored.record.outcome) != (commit.revision, commit.before):
            return None
        self._advance(stored, commit)
        states = [
            self._book(charge, paying, commit) for charge, paying in zip(commit.charges, stored.paying, strict=True)
        ]
        return states[0] or BudgetState(Window.named(commit.charges[0].window), Account(limit_nusd=0))

    async def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """See `Ledger.due`."""
        return self._due.due(now_ms, limit)

    async def defaults_due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """See `Ledger.defaults_due`."""
        return self._defaults.due(now_ms, limit)

    async def drop_default(self, tenant_id: str, decision_id: str, revision: int | None) -> None:
        """See `Ledger.drop_default`."""
        stored = self._live((tenant_id, decision_id))
        if (None if stored is None else stored.record.revision) == revision:
            self._defaults.put((tenant_id, decision_id), None)

    async def budget(self, level: Level) -> BudgetState:
        """See `Ledger.budget`."""
        state = self._view(self._tenant(level.account_id), level).as_seen(level)
        return replace(state, account=replace(state.account, limit_nusd=level.cap_nusd)) if level.session_id else state

    async def edit_budget(self, edit: BudgetEdit, level: Level) -> BudgetState:
        """See `Ledger.edit_budget`."""
        if edit.kind is BudgetEditKind.SET_LIMIT:
            check_limit(edit.amount_nusd)
        tenant = self._tenant(edit.tenant_id)
        opened = self._view(tenant, level)
        if self._is_repeated(tenant, edit):
            return opened.as_seen(level)
        before = opened.account
        after = before.edit(edit.kind, edit.amount_nusd)
        tenant.put(level, opened, edit.edited_ms)
        opened.account = after
        if edit.kind is BudgetEditKind.SET_LIMIT:
            tenant.base_limit_nusd = edit.amount_nusd
        elif edit.kind is BudgetEditKind.RESET:
            tenant.resets += 1
            opened.reset = tenant.resets
        opened.alerted = min(opened.alerted, reached(opened.account, level.alert_percents))
        self._remember_edit(tenant, edit)
        tenant.note(edit, before, opened.account)
        return opened.as_seen(level)

    async def audit(self, tenant_id: str, *, after_id: str, limit: int) -> Sequence[AuditEntry]:
        """See `Ledger.audit`."""
        tenant = self._tenants.get(tenant_id)
        behind = [] if tenant is None else [e for e in tenant.audit if _number(e.entry_id) > _number(after_id)]
        return behind[:limit]

    async def recent_contexts(self, tenant_id: str) -> Sequence[bytes]:
        """See `Ledger.recent_contexts`."""
        tenant = self._tenants.get(tenant_id)
        return [] if tenant is None else list(tenant.recent)

    def _tenant(self, tenant_id: str) -> Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise AccountMissing(tenant_id)
        return tenant

    def _view(self, tenant: Tenant, level: Level) -> Opened:
        return tenant.view(level, self._clock.now_ms())

    def _remember_session(self, level: Level, opened: Opened, expires_ms: int) -> None:
        opened.expires_ms = max(expires_ms, opened.expires_ms or 0)
        heapq.heappush(self._session_expiry, (expires_ms, (level.account_id, level.charge.window)))

    def _alerts(
        self, request: HoldRequest, tenants: Sequence[Tenant], windows: Sequence[Opened]
    ) -> tuple[BudgetAlert, ...]:
        """Take note of the shares of the limits that have just been reached."""
        found = []
        for tenant, level, opened in zip(tenants, request.levels, windows, strict=True):
            percent = reached(opened.account, level.alert_percents)
            is_open = tenant.windows.get(level.charge.window) is opened
            if percent > opened.alerted and is_open:
                opened.alerted = percent
                edit = BudgetEdit(level.account_id, BudgetEditKind.ALERT, percent, "", "", request.held_ms)
                tenant.note(edit, opened.account, opened.account)
                found.append(BudgetAlert(level.account_id, percent, opened.as_seen(level)))
        return tuple(found)

    def _remember_edit(self, tenant: Tenant, edit: BudgetEdit) -> None:
        now_ms = self._clock.now_ms()
        tenant.edits = {edit_id: known for edit_id, known in tenant.edits.items() if known[2] > now_ms}
        if edit.edit_id:
            tenant.edits[edit.edit_id] = edit.kind, edit.amount_nusd, now_ms + EDIT_KEEP_MS

    def _is_repeated(self, tenant: Tenant, edit: BudgetEdit) -> bool:
        kind, amount_nusd, until_ms = tenant.edits.get(edit.edit_id, (edit.kind, edit.amount_nusd, 0))
        if until_ms <= self._clock.now_ms():
            return False
        if (kind, amount_nusd) != (edit.kind, edit.amount_nusd):
            raise EditIdTaken(edit.edit_id)
        return True

    def _known(self, request: HoldRequest) -> _Stored | None:
        """The decision that this request (or decision) id has already."""
        requested = self._requested(request.tenant_id, request.request_id) if request.request_id else None
        return requested or self._live((request.tenant_id, request.decision_id))

    def _requested(self, tenant_id: str, request_id: str) -> _Stored | None:
        decision_id, expires_ms = self._requests.get((tenant_id, request_id), ("", 0))
        return self._live((tenant_id, decision_id)) if expires_ms > self._clock.now_ms() else None

    def _live(self, key: _Key) -> _Stored | None:
        stored = self._records.get(key)
        if stored is None or (stored.expires_ms is not None and stored.expires_ms <= self._clock.now_ms()):
            return None
        return stored

    def _record(
        self, tenants: Sequence[Tenant], windows: Sequence[Opened], request: HoldRequest, free_nusd: int
    ) -> DecisionRecord:
        record = DecisionRecord(request.decision, request.outcome, free_nusd, 0)
        paying = tuple(map(_Paying, tenants, windows))
        self._records[request.tenant_id, request.decision_id] = _Stored(
            record, paying, request.deadline_ms, request.keep_ms
        )
        self._due.put((request.tenant_id, request.decision_id), request.deadline_ms)
        if request.request_id:
            key = (request.tenant_id, request.request_id)
            expires_ms = request.deadline_ms + request.keep_ms
            self._requests[key] = (request.decision_id, expires_ms)
            heapq.heappush(self._request_expiry, (expires_ms, key))
        tenants[0].recent.appendleft(request.context)
        return record

    def _advance(self, stored: _Stored, commit: OutcomeCommit) -> None:
        """Store the outcome and append the event."""
        record = stored.record
        stored.record = DecisionRecord(record.decision, commit.after, record.free_nusd, record.revision + 1)
        key = (commit.tenant_id, commit.decision_id)
        self._defaults.put(key, commit.default_due_ms)
        if commit.settled:
            self._due.put(key, None)
            stored.expires_ms = max(stored.deadline_ms, commit.recorded_ms) + stored.keep_ms
            heapq.heappush(self._record_expiry, (stored.expires_ms, key))
        self._events.append(
            commit.pool_id,
            partition_of(commit.tenant_id),
            decision=record.decision,
            before=commit.before,
            after=commit.after,
            free_nusd=record.free_nusd,
            now_ms=commit.recorded_ms,
        )

    def _book(self, charge: Charge, paying: _Paying, commit: OutcomeCommit) -> BudgetState | None:
        """Move the money of one account, unless it has been closed since or its session is forgotten."""
        opened = paying.window
        if self._tenants.get(charge.account_id) is not paying.tenant:
            return None
        if opened.expires_ms is not None and opened.expires_ms <= self._clock.now_ms():
            return None
        if commit.was.stands:
            paying.written_off_nusd = 0
        elif opened.reset > paying.resets:
            paying.written_off_nusd = max(paying.written_off_nusd, commit.was.spent_nusd)
        paying.resets = paying.tenant.resets
        off_nusd = paying.written_off_nusd
        opened.account = opened.account.change(money_between(commit.was.less(off_nusd), commit.now.less(off_nusd)))
        return opened.state

    def _forget_expired(self) -> None:
        """Drop what has outlived its time; each call does a bounded part of the work."""
        now_ms = self._clock.now_ms()
        self._due.tidy()
        self._defaults.tidy()
        if self._record_expiry and self._record_expiry[0][0] <= now_ms:
            _, key = heapq.heappop(self._record_expiry)
            if key in self._records and self._live(key) is None:
                del self._records[key]
        if self._session_expiry and self._session_expiry[0][0] <= now_ms:
            _, (tenant_id, name) = heapq.heappop(self._session_expiry)
            windows = self._tenants[tenant_id].windows if tenant_id in self._tenants else {}
            if name in windows and (windows[name].expires_ms or 0) <= now_ms:
                del windows[name]
        if self._request_expiry and self._request_expiry[0][0] <= now_ms:
            _, key = heapq.heappop(self._request_expiry)
            if key in self._requests and self._requests[key][1] <= now_ms:
                del self._requests[key]


def _states(levels: Sequence[Level], windows: Sequence[Opened]) -> tuple[BudgetState, ...]:
    return tuple(opened.as_seen(level) for level, opened in zip(levels, windows, strict=True))


def _number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0] or 0)
