"""The ledger in memory: the reference for what every other store must do, and the simulator's store.

A method that runs without awaiting is atomic, so there are no locks. Bytes are kept by reference.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bandit_router.adapters.memory.events import MemoryEventLog
from bandit_router.core.budget import Account, BudgetEditKind, check_limit, opening_limit
from bandit_router.core.partition import partition_of
from bandit_router.core.windows import Window
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import (
    AUDIT_ENTRIES,
    RECENT_CONTEXTS,
    AccountMissing,
    AlreadyDecided,
    AuditEntry,
    BudgetEdit,
    BudgetState,
    DecisionRecord,
    DoesNotFit,
    DueDecision,
    Held,
    HoldRequest,
    HoldResult,
    OutcomeCommit,
)

_Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class _Tenant:
    """What is kept per account; a tenant closed and opened again is a new object."""

    base_limit_nusd: int
    first_start_ms: int | None = None
    windows: dict[int, BudgetState] = field(default_factory=dict)
    audit: deque[AuditEntry] = field(default_factory=lambda: deque(maxlen=AUDIT_ENTRIES))
    audited: int = 0
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT_CONTEXTS))


@dataclass(slots=True)
class _Stored:
    """A decision record; `expires_ms` is None while its hold stands."""

    record: DecisionRecord
    tenant: _Tenant
    deadline_ms: int
    keep_ms: int
    expires_ms: int | None = None


class MemoryLedger:
    """Implements `Ledger`."""

    def __init__(self, clock: Clock, events: MemoryEventLog) -> None:
        self._clock = clock
        self._events = events
        self._tenants: dict[str, _Tenant] = {}
        self._records: dict[_Key, _Stored] = {}
        self._requests: dict[_Key, tuple[str, int]] = {}
        self._due: list[tuple[int, str, str]] = []
        self._record_expiry: list[tuple[int, _Key]] = []
        self._request_expiry: list[tuple[int, _Key]] = []

    async def open_account(self, tenant_id: str, limit_nusd: int) -> None:
        """See `Ledger.open_account`."""
        check_limit(limit_nusd)
        if tenant_id not in self._tenants:
            self._tenants[tenant_id] = _Tenant(limit_nusd)

    async def close_account(self, tenant_id: str) -> None:
        """See `Ledger.close_account`."""
        self._tenants.pop(tenant_id, None)

    async def base_limit(self, tenant_id: str) -> int:
        """See `Ledger.base_limit`."""
        return self._tenant(tenant_id).base_limit_nusd

    async def hold(self, request: HoldRequest) -> HoldResult:
        """See `Ledger.hold`."""
        self._forget_expired()
        tenant = self._tenant(request.tenant_id)
        state = self._view(tenant, request.window, carry_over=request.carry_over)
        known = self._known(request)
        if known is not None:
            return AlreadyDecided(known.record, state)
        account = state.account
        if not request.shadow and not account.fits(request.hold_nusd):
            return DoesNotFit(state)
        held = account.hold(request.hold_nusd, expected_cost_nusd=request.expected_cost_nusd)
        state = BudgetState(state.window, held, request.price)
        self._put(tenant, state)
        return Held(self._record(tenant, request, account.free_nusd), state)

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
        if stored is None or stored.record.revision != commit.revision:
            return None
        self._advance(stored, commit)
        state = self._window_of(stored, commit)
        if state is None:
            return BudgetState(Window(commit.window_start_ms), Account(limit_nusd=0))
        state = BudgetState(state.window, state.account.change(commit.money), state.price)
        stored.tenant.windows[commit.window_start_ms] = state
        return state

    async def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """See `Ledger.due`."""
        standing: list[tuple[int, str, str]] = []
        while self._due and self._due[0][0] <= now_ms and len(standing) < limit:
            entry = heapq.heappop(self._due)
            if self._stands(entry):
                standing.append(entry)
        for entry in standing:
            heapq.heappush(self._due, entry)
        return [DueDecision(tenant_id, decision_id, deadline_ms) for deadline_ms, tenant_id, decision_id in standing]

    async def budget(self, tenant_id: str, window: Window, *, carry_over: bool) -> BudgetState:
        """See `Ledger.budget`."""
        return self._view(self._tenant(tenant_id), window, carry_over=carry_over)

    async def edit_budget(self, edit: BudgetEdit, window: Window, *, carry_over: bool) -> BudgetState:
        """See `Ledger.edit_budget`."""
        tenant = self._tenant(edit.tenant_id)
        before = self._view(tenant, window, carry_over=carry_over)
        after = BudgetState(before.window, before.account.edit(edit.kind, edit.amount_nusd), before.price)
        if edit.kind is BudgetEditKind.SET_LIMIT:
            tenant.base_limit_nusd = edit.amount_nusd
        self._put(tenant, after)
        tenant.audited += 1
        tenant.audit.append(AuditEntry(f"{tenant.audited}-0", edit, before.account, after.account))
        return after

    async def audit(self, tenant_id: str, *, after_id: str, limit: int) -> Sequence[AuditEntry]:
        """See `Ledger.audit`."""
        tenant = self._tenants.get(tenant_id)
        behind = [] if tenant is None else [e for e in tenant.audit if _number(e.entry_id) > _number(after_id)]
        return behind[:limit]

    async def recent_contexts(self, tenant_id: str) -> Sequence[bytes]:
        """See `Ledger.recent_contexts`."""
        tenant = self._tenants.get(tenant_id)
        return [] if tenant is None else list(tenant.recent)

    def _tenant(self, tenant_id: str) -> _Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise AccountMissing(tenant_id)
        return tenant

    def _view(self, tenant: _Tenant, window: Window, *, carry_over: bool) -> BudgetState:
        """The window's state, or what it would open with."""
        state = tenant.windows.get(window.start_ms)
        if state is not None:
            return state
        previous = self._previous(tenant, window) if carry_over else None
        limit_nusd = opening_limit(tenant.base_limit_nusd, previous, carry_over=carry_over)
        return BudgetState(window, Account(limit_nusd))

    def _previous(self, tenant: _Tenant, window: Window) -> Account | None:
        """Account of the window before. An idle one, never opened, has left its whole base limit.

        Windows from before the tenant's first one have left nothing: there was no budget yet.
        """
        start_ms = window.previous_start_ms
        if start_ms is None or tenant.first_start_ms is None or start_ms < tenant.first_start_ms:
            return None
        state = tenant.windows.get(start_ms)
        return Account(tenant.base_limit_nusd) if state is None else state.account

    def _put(self, tenant: _Tenant, state: BudgetState) -> None:
        if tenant.first_start_ms is None:
            tenant.first_start_ms = state.window.start_ms
        tenant.windows[state.window.start_ms] = state

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

    def _record(self, tenant: _Tenant, request: HoldRequest, free_nusd: int) -> DecisionRecord:
        record = DecisionRecord(request.decision, request.outcome, free_nusd, 0)
        self._records[request.tenant_id, request.decision_id] = _Stored(
            record, tenant, request.deadline_ms, request.keep_ms
        )
        heapq.heappush(self._due, (request.deadline_ms, request.tenant_id, request.decision_id))
        if request.request_id:
            key = (request.tenant_id, request.request_id)
            expires_ms = request.deadline_ms + request.keep_ms
            self._requests[key] = (request.decision_id, expires_ms)
            heapq.heappush(self._request_expiry, (expires_ms, key))
        tenant.recent.appendleft(request.context)
        return record

    def _advance(self, stored: _Stored, commit: OutcomeCommit) -> None:
        """Store the outcome and append the event."""
        record = stored.record
        stored.record = DecisionRecord(record.decision, commit.after, record.free_nusd, record.revision + 1)
        if commit.settled:
            stored.expires_ms = max(stored.deadline_ms, commit.recorded_ms) + stored.keep_ms
            heapq.heappush(self._record_expiry, (stored.expires_ms, (commit.tenant_id, commit.decision_id)))
        self._events.append(
            commit.pool_id,
            partition_of(commit.tenant_id),
            decision=record.decision,
            before=commit.before,
            after=commit.after,
            free_nusd=record.free_nusd,
            now_ms=commit.recorded_ms,
        )

    def _window_of(self, stored: _Stored, commit: OutcomeCommit) -> BudgetState | None:
        """The window that pays, unless its account has been closed since."""
        if self._tenants.get(commit.tenant_id) is not stored.tenant:
            return None
        return stored.tenant.windows.get(commit.window_start_ms)

    def _stands(self, entry: tuple[int, str, str]) -> bool:
        stored = self._records.get(entry[1:])
        return stored is not None and stored.expires_ms is None

    def _forget_expired(self) -> None:
        """Drop what has outlived its time; each call does a bounded part of the work."""
        now_ms = self._clock.now_ms()
        if self._due and not self._stands(self._due[0]):
            heapq.heappop(self._due)
        if self._record_expiry and self._record_expiry[0][0] <= now_ms:
            _, key = heapq.heappop(self._record_expiry)
            if key in self._records and self._live(key) is None:
                del self._records[key]
        if self._request_expiry and self._request_expiry[0][0] <= now_ms:
            _, key = heapq.heappop(self._request_expiry)
            if key in self._requests and self._requests[key][1] <= now_ms:
                del self._requests[key]


def _number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0] or 0)
