"""The ledger in Redis. What is atomic happens in `lua/*.lua`; here it is asked for and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bandit_router.adapters.redis import keys, records, scripts
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import Argument, Command, plain
from bandit_router.core.budget import Account, BudgetEditKind, Charge, LimitError, check_limit
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.partition import PARTITION_COUNT, partition_of
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import (
    AUDIT_ENTRIES,
    EDIT_KEEP_MS,
    RECENT_CONTEXTS,
    AccountMissing,
    AlreadyDecided,
    AuditEntry,
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
    StoreUnavailable,
)

MAX_LOOKS = 8
"""Times that a script is asked: once more a level for the window it wants to look at, unless others open some."""

MAX_HINTS = 10_000
"""Windows remembered with the other one that a script last wanted to look at for them; all are found anew then."""


class RedisLedger:
    """Implements `Ledger`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._hints: dict[Charge, str] = {}

    async def open_account(self, tenant_id: str, limit_nusd: int, generation: int) -> None:
        """See `Ledger.open_account`."""
        limit = check_limit(limit_nusd)
        names = [keys.account(tenant_id), keys.epoch(tenant_id)]
        await self._client.call(scripts.OPEN_ACCOUNT.on(names, limit, generation))

    async def close_account(self, tenant_id: str, generation: int) -> None:
        """See `Ledger.close_account`. A window opened meanwhile stays behind, unreachable, until its time is over."""
        names = await self._client.call(plain("ZRANGE", keys.windows(tenant_id), 0, -1))
        fixed = [keys.account(tenant_id), keys.windows(tenant_id), keys.audit(tenant_id), keys.recent(tenant_id)]
        windows = [keys.window(tenant_id, name.decode()) for name in names]
        await self._client.call(scripts.CLOSE_ACCOUNT.on([*fixed, *windows], generation))

    async def base_limit(self, tenant_id: str) -> int:
        """See `Ledger.base_limit`."""
        return await self._head(tenant_id, "limit")

    async def generation(self, tenant_id: str) -> int:
        """See `Ledger.generation`."""
        return await self._head(tenant_id, "generation")

    async def hold(self, request: HoldRequest) -> HoldResult:
        """See `Ledger.hold`."""
        assert request.hold_nusd >= 0
        levels = request.levels
        status, rest = await self._on_levels(levels, lambda latest: _hold_command(request, latest))
        budgets = tuple(map(records.budget_state, levels, rest[0]))
        if status == b"held":
            record = DecisionRecord(request.decision, request.outcome, int(rest[2]), 0)
            return Held(record, budgets, tuple(records.budget_alerts(levels, budgets, rest[1])))
        if status == b"full":
            alerts = tuple(records.budget_alerts(levels, budgets, rest[1]))
            return DoesNotFit(budgets, free_nusd=int(rest[2]), short=rest[3], alerts=alerts)
        if status == b"decided":
            return AlreadyDecided(records.decision_record(rest[1:]), budgets)
        return AlreadyDecided(await self._requested(request, rest[1].decode()), budgets)

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
        names = [charge.window for charge in commit.charges]
        fields = await self._client.call(_commit_command(commit, names))
        while fields and fields[0] == b"again":  # at most once a charge: a record never moves
            names[fields[1]] = fields[2].decode()
            fields = await self._client.call(_commit_command(commit, names))
        if fields is None:
            return None
        if not fields:
            return BudgetState(Window.named(commit.charges[0].window), Account(limit_nusd=0))
        return records.charged_state(commit.charges[0], fields)

    async def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """See `Ledger.due`."""
        return await self._due(keys.due, now_ms, limit)

    async def defaults_due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """See `Ledger.defaults_due`."""
        return await self._due(keys.defaults, now_ms, limit)

    async def drop_default(self, tenant_id: str, decision_id: str, revision: int | None) -> None:
        """See `Ledger.drop_default`."""
        names = [keys.decision(tenant_id, decision_id), keys.defaults(partition_of(tenant_id))]
        known = "" if revision is None else revision
        await self._client.call(scripts.DROP_DEFAULT.on(names, known, records.due_member(tenant_id, decision_id)))

    async def budget(self, level: Level) -> BudgetState:
        """See `Ledger.budget`."""
        _, rest = await self._on_levels((level,), lambda latest: scripts.BUDGET.on(*_level(level, latest[0])))
        return records.budget_state(level, rest[0])

    async def edit_budget(self, edit: BudgetEdit, level: Level) -> BudgetState:
        """See `Ledger.edit_budget`."""
        if edit.kind is BudgetEditKind.SET_LIMIT:
            check_limit(edit.amount_nusd)
        status, rest = await self._on_levels((level,), lambda latest: _edit_command(edit, level, latest[0]))
        state = records.budget_state(level, rest[0])
        if status == b"taken":
            raise EditIdTaken(edit.edit_id)
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

    async def _due(self, key_of: Callable[[int], str], now_ms: int, limit: int) -> Sequence[DueDecision]:
        """The earliest members of the partitions' queues."""
        pages = await self._client.bulk(
            [
                plain("ZRANGEBYSCORE", key_of(partition), "-inf", now_ms, "WITHSCORES", "LIMIT", 0, limit)
                for partition in range(PARTITION_COUNT)
            ]
        )
        found = [_due(*row) for page in pages for row in zip(page[::2], page[1::2], strict=True)]
        return sorted(found, key=lambda due: due.deadline_ms)[:limit]

    async def _head(self, tenant_id: str, field: str) -> int:
        limit, value = await self._client.call(plain("HMGET", keys.account(tenant_id), "limit", field))
        if limit is None:
            raise AccountMissing(tenant_id)
        return int(value or 0)

    async def _on_levels(
        self, levels: Sequence[Level], command: Callable[[Sequence[str]], Command]
    ) -> tuple[bytes, list[Any]]:
        """The reply of a script on levels. It is asked again with the windows that it wants to look at besides.

        A window opens with what the one opened last before has left, mostly the one right before it; and one that goes
        on under another name after a change of its rule is in its first record. Only the script can tell, and only once
        it has run.
        """
        latest = [self._hints.get(level.charge) or level.window.previous_name or "" for level in levels]
        for _ in range(MAX_LOOKS):
            status, *rest = await self._client.call(command(latest))
            if status == b"missing":
                raise AccountMissing(levels[rest[0]].account_id)
            if status != b"again":
                return status, rest
            latest[rest[0]] = rest[1].decode()
            if len(self._hints) >= MAX_HINTS:
                self._hints.clear()
            self._hints[levels[rest[0]].charge] = latest[rest[0]]
        raise StoreUnavailable(f"windows of {levels[0].account_id} opened during {MAX_LOOKS} looks; it may be repeated")

    async def _requested(self, request: HoldRequest, decision_id: str) -> DecisionRecord:
        """The record that the request id points to; it outlives the pointer, except by a hair."""
        record = await self.read(request.tenant_id, decision_id)
        if record is None:
            raise StoreUnavailable(f"decision {decision_id} expired while it was looked up; the call may be repeated")
        return record


def _hold_command(request: HoldRequest, latest: Sequence[str]) -> Command:
    tenant_id, decision = request.tenant_id, keys.decision(request.tenant_id, request.decision_id)
    names = [
        decision,
        keys.request(tenant_id, request.request_id) if request.request_id else decision,
        keys.due(partition_of(tenant_id)),
        keys.recent(tenant_id),
    ]
    args: list[Argument] = [
        request.hold_nusd,
        request.expected_cost_nusd,
        request.held_ms,
        request.deadline_ms,
        request.keep_ms,
        request.decision_id,
        records.due_member(tenant_id, request.decision_id),
        request.decision,
        request.outcome,
        request.context,
        records.price_text(request.price),
        request.price.decisions,
        request.price.snapshot_version,
        RECENT_CONTEXTS,
        AUDIT_ENTRIES,
    ]
    for level, name in zip(request.levels, latest, strict=True):
        names += records.level_keys(level, name)
        args += records.level_args(level, name, forget_session_ms=request.deadline_ms + request.keep_ms)
    return scripts.HOLD.on(names, *args)


def _commit_command(commit: OutcomeCommit, windows: Sequence[str]) -> Command:
    """`windows`: of each charge, the name of the record that its money is in."""
    tenant_id, partition = commit.tenant_id, partition_of(commit.tenant_id)
    names = [
        keys.decision(tenant_id, commit.decision_id),
        keys.due(partition),
        keys.events(commit.pool_id, partition),
        keys.defaults(partition),
    ]
    for charge, window in zip(commit.charges, windows, strict=True):
        account_id = charge.account_id
        names += [keys.account(account_id), keys.window(account_id, window), keys.old_window(account_id, window)]
    return scripts.COMMIT.on(
        names,
        commit.revision,
        commit.before,
        commit.after,
        commit.recorded_ms,
        records.due_member(tenant_id, commit.decision_id),
        *records.booking_args(commit.was, commit.now),
        records.default_arg(commit.default_was_due_ms, commit.default_due_ms),
        *windows,
    )


def _edit_command(edit: BudgetEdit, level: Level, latest: str) -> Command:
    names, *args = _level(level, latest)
    account = keys.account(edit.tenant_id)
    return scripts.EDIT_BUDGET.on(
        [*names, keys.edit(edit.tenant_id, edit.edit_id) if edit.edit_id else account],
        *args,
        edit.kind.value,
        _exact_in_lua(edit.amount_nusd) if edit.kind is BudgetEditKind.GRANT else edit.amount_nusd,
        edit.reason,
        edit.actor,
        edit.edited_ms,
        AUDIT_ENTRIES,
        EDIT_KEEP_MS,
    )


def _level(level: Level, latest: str) -> tuple[Any, ...]:
    """Keys and arguments of a script that takes one level."""
    return records.level_keys(level, latest), *records.level_args(level, latest)


def _exact_in_lua(grant_nusd: int) -> int:
    """The grant, or for one that no limit allows another such that a double can tell from those allowed."""
    if abs(grant_nusd) <= MAX_LIMIT_NUSD:
        return grant_nusd
    return 2 * MAX_LIMIT_NUSD if grant_nusd > 0 else -2 * MAX_LIMIT_NUSD


def _due(member: bytes, score: Any) -> DueDecision:
    tenant_id, _, decision_id = member.decode().partition(" ")
    return DueDecision(tenant_id, decision_id, int(score))
