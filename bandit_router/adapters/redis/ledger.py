"""The ledger in Redis. What is atomic happens in `lua/*.lua`; here it is asked for and read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bandit_router.adapters.redis import keys, records, scripts
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import Command, plain
from bandit_router.core.budget import Account, BudgetEditKind, LimitError, check_limit
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.partition import PARTITION_COUNT, partition_of
from bandit_router.core.windows import Window
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
    StoreUnavailable,
)


class RedisLedger:
    """Implements `Ledger`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def open_account(self, tenant_id: str, limit_nusd: int) -> None:
        """See `Ledger.open_account`."""
        names = [keys.account(tenant_id), keys.epoch(tenant_id)]
        await self._client.call(scripts.OPEN_ACCOUNT.on(names, check_limit(limit_nusd)))

    async def close_account(self, tenant_id: str) -> None:
        """See `Ledger.close_account`. A window opened meanwhile stays behind, unreachable, until its time is over."""
        starts = await self._client.call(plain("ZRANGE", keys.windows(tenant_id), 0, -1))
        names = [keys.window(tenant_id, int(start)) for start in starts]
        names += [keys.windows(tenant_id), keys.audit(tenant_id), keys.recent(tenant_id)]
        await self._client.call(plain("DEL", keys.account(tenant_id), *names))

    async def base_limit(self, tenant_id: str) -> int:
        """See `Ledger.base_limit`."""
        limit = await self._client.call(plain("HGET", keys.account(tenant_id), "limit"))
        if limit is None:
            raise AccountMissing(tenant_id)
        return int(limit)

    async def hold(self, request: HoldRequest) -> HoldResult:
        """See `Ledger.hold`."""
        status, *rest = await self._client.call(_hold_command(request))
        if status == b"missing":
            raise AccountMissing(request.tenant_id)
        budget = records.budget_state(request.window.start_ms, rest[0])
        if status == b"held":
            return Held(DecisionRecord(request.decision, request.outcome, int(rest[1]), 0), budget)
        if status == b"full":
            return DoesNotFit(budget)
        if status == b"decided":
            return AlreadyDecided(records.decision_record(rest[1:]), budget)
        return AlreadyDecided(await self._requested(request, rest[1].decode()), budget)

    async def read(self, tenant_id: str, decision_id: str) -> DecisionRecord | None:
        """See `Ledger.read`."""
        key = keys.decision(tenant_id, decision_id)
        fields = await self._client.call(plain("HMGET", key, "d", "o", "free", "rev"))
        return None if fields[0] is None else records.decision_record(fields)

    async def find(self, tenant_id: str, request_id: str) -> DecisionRecord | None:
        """See `Ledger.find`."""
        decision_id = await self._client.call(plain("GET", keys.request(tenant_id, request_id)))
        return None if decision_id is None else await self.read(tenant_id, decision_id.decode())

    async def commit(self, commit: OutcomeCommit) -> BudgetState | None:
        """See `Ledger.commit`."""
        fields = await self._client.call(_commit_command(commit))
        if fields is None:
            return None
        if not fields:
            return BudgetState(Window(commit.window_start_ms), Account(limit_nusd=0))
        return records.budget_state(commit.window_start_ms, fields)

    async def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """See `Ledger.due`."""
        pages = await self._client.bulk(
            [
                plain("ZRANGEBYSCORE", keys.due(partition), "-inf", now_ms, "WITHSCORES", "LIMIT", 0, limit)
                for partition in range(PARTITION_COUNT)
            ]
        )
        found = [_due(*row) for page in pages for row in zip(page[::2], page[1::2], strict=True)]
        return sorted(found, key=lambda due: due.deadline_ms)[:limit]

    async def budget(self, tenant_id: str, window: Window, *, carry_over: bool) -> BudgetState:
        """See `Ledger.budget`."""
        args = records.window_args(window, carry_over=carry_over)
        fields = await self._client.call(scripts.BUDGET.on(records.window_keys(tenant_id, window), *args))
        if fields is None:
            raise AccountMissing(tenant_id)
        return records.budget_state(window.start_ms, fields)

    async def edit_budget(self, edit: BudgetEdit, window: Window, *, carry_over: bool) -> BudgetState:
        """See `Ledger.edit_budget`."""
        if edit.kind is BudgetEditKind.SET_LIMIT:
            check_limit(edit.amount_nusd)
        status, *rest = await self._client.call(_edit_command(edit, window, carry_over=carry_over))
        if status == b"missing":
            raise AccountMissing(edit.tenant_id)
        state = records.budget_state(window.start_ms, rest[0])
        if status == b"limit":
            state.account.edit(edit.kind, edit.amount_nusd)
            raise LimitError(f"a grant of {edit.amount_nusd} nano-USD leads to a limit out of range")
        return state

    async def audit(self, tenant_id: str, *, after_id: str, limit: int) -> Sequence[AuditEntry]:
        """See `Ledger.audit`."""
        first = f"({after_id}" if after_id else "-"
        page = await self._client.call(plain("XRANGE", keys.audit(tenant_id), first, "+", "COUNT", limit))
        return [records.audit_entry(tenant_id, *row) for row in page]

    async def recent_contexts(self, tenant_id: str) -> Sequence[bytes]:
        """See `Ledger.recent_contexts`."""
        [contexts] = await self._client.bulk([plain("LRANGE", keys.recent(tenant_id), 0, RECENT_CONTEXTS - 1)])
        return list(contexts)

    async def _requested(self, request: HoldRequest, decision_id: str) -> DecisionRecord:
        """The record that the request id points to; it outlives the pointer, except by a hair."""
        record = await self.read(request.tenant_id, decision_id)
        if record is None:
            raise StoreUnavailable(f"decision {decision_id} expired while it was looked up; the call may be repeated")
        return record


def _hold_command(request: HoldRequest) -> Command:
    assert request.hold_nusd >= 0
    tenant_id, decision = request.tenant_id, keys.decision(request.tenant_id, request.decision_id)
    return scripts.HOLD.on(
        [
            *records.window_keys(tenant_id, request.window),
            decision,
            keys.request(tenant_id, request.request_id) if request.request_id else decision,
            keys.due(partition_of(tenant_id)),
            keys.recent(tenant_id),
        ],
        *records.window_args(request.window, carry_over=request.carry_over),
        request.hold_nusd,
        request.expected_cost_nusd,
        request.deadline_ms,
        request.keep_ms,
        int(request.shadow),
        request.decision_id,
        records.due_member(tenant_id, request.decision_id),
        request.decision,
        request.outcome,
        request.context,
        records.price_text(request.price),
        request.price.decisions,
        request.price.snapshot_version,
        RECENT_CONTEXTS,
    )


def _commit_command(commit: OutcomeCommit) -> Command:
    tenant_id, money = commit.tenant_id, commit.money
    partition = partition_of(tenant_id)
    return scripts.COMMIT.on(
        [
            keys.account(tenant_id),
            keys.window(tenant_id, commit.window_start_ms),
            keys.decision(tenant_id, commit.decision_id),
            keys.due(partition),
            keys.events(commit.pool_id, partition),
        ],
        commit.revision,
        commit.before,
        commit.after,
        int(commit.settled),
        commit.recorded_ms,
        money.held_nusd,
        money.spent_nusd,
        money.overrun_nusd,
        money.in_flight_nusd,
        records.due_member(tenant_id, commit.decision_id),
    )


def _edit_command(edit: BudgetEdit, window: Window, *, carry_over: bool) -> Command:
    return scripts.EDIT_BUDGET.on(
        [*records.window_keys(edit.tenant_id, window), keys.audit(edit.tenant_id)],
        *records.window_args(window, carry_over=carry_over),
        edit.kind.value,
        _exact_in_lua(edit.amount_nusd) if edit.kind is BudgetEditKind.GRANT else edit.amount_nusd,
        edit.reason,
        edit.actor,
        edit.edited_ms,
        AUDIT_ENTRIES,
    )


def _exact_in_lua(grant_nusd: int) -> int:
    """The grant, or for one that no limit allows another such that a double can tell from those allowed."""
    if abs(grant_nusd) <= MAX_LIMIT_NUSD:
        return grant_nusd
    return 2 * MAX_LIMIT_NUSD if grant_nusd > 0 else -2 * MAX_LIMIT_NUSD


def _due(member: bytes, score: Any) -> DueDecision:
    tenant_id, _, decision_id = member.decode().partition(" ")
    return DueDecision(tenant_id, decision_id, int(score))
