"""The watch: every call that reaches the store is checked at that very moment against the books."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bandit_router.adapters.memory.clock import ManualClock
from bandit_router.adapters.memory.store import MemoryStore
from bandit_router.core.budget import Account, BudgetEditKind, LimitError
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.outcomes import Billing, Outcome
from bandit_router.core.partition import partition_of
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import (
    RECENT_CONTEXTS,
    AccountMissing,
    AlreadyDecided,
    BudgetAlert,
    BudgetEdit,
    BudgetState,
    DecisionRecord,
    DoesNotFit,
    DueDecision,
    Held,
    HoldRequest,
    Level,
    OutcomeCommit,
)
from bandit_router.ports.snapshots import Snapshot
from bandit_router_sim.world.acts import ActKind
from bandit_router_sim.world.books import MAX_LIMIT_NUSD, Books, Entry, Purse, level_named
from bandit_router_sim.world.draws import check_decision
from bandit_router_sim.world.expectations import after_deadline, after_feedback, after_silence, default_due_ms
from bandit_router_sim.world.failure import Trace, Violation
from bandit_router_sim.world.leases import Leases
from bandit_router_sim.world.lessons import Lessons
from bandit_router_sim.world.network import Effect, at_once
from bandit_router_sim.world.views import Views


class Watch:
    """Keeps the books and compares. Raises Violation."""

    def __init__(self, store: MemoryStore, clock: ManualClock, trace: Trace) -> None:
        self._store, self._clock, self._trace = store, clock, trace
        self.books, self.lessons, self.leases, self.views = Books(), Lessons(), Leases(), Views()
        self._checks: dict[str, Callable[[Effect], str]] = {
            "ledger.open_account": self._open_account,
            "ledger.close_account": self._close_account,
            "ledger.hold": self._hold,
            "ledger.find": self._find,
            "ledger.commit": self._commit,
            "ledger.read": self._read,
            "ledger.due": self._due,
            "ledger.defaults_due": self._defaults_due,
            "ledger.drop_default": self._drop_default,
            "ledger.budget": self._budget,
            "ledger.edit_budget": self._edit,
            "ledger.base_limit": self._base_limit,
            "ledger.recent_contexts": self._recent_contexts,
            "snapshots.acquire": self._acquire,
            "snapshots.release": self._release,
            "snapshots.save": self._save,
            "catalog.put": self._put,
            "catalog.delete": self._delete,
            "catalog.changes": self._changes,
        }

    def __call__(self, effect: Effect) -> None:
        """Look at a call that has just taken effect."""
        self.books.forget_sessions(self._clock.now_ms())
        told = "" if effect.error is None else type(effect.error).__name__
        if isinstance(effect.error, AccountMissing):
            self._check_missing(effect)
        check = self._checks.get(effect.call)
        if check is not None and (effect.error is None or check == self._edit):
            told = f"{told} {check(effect)}"
        ghost = " (late)" if effect.ghost else ""
        self._trace.add(f"{self._clock.now_ms()} {effect.act.name} {effect.call}{ghost} {told}")

    def check_accounts(self) -> None:
        """The budget law in every window of every tenant."""
        self.books.forget_sessions(self._clock.now_ms())
        for tenant_id, purse in self.books.purses.items():
            for name, period in purse.periods.items():
                state: BudgetState = at_once(self._store.ledger.budget(level_named(tenant_id, name, period)))
                self.books.check_law(tenant_id, name, state.account, purse.shown(name))

    def _check_missing(self, effect: Effect) -> None:
        """No account is missing that was opened."""
        tenant_id = str(effect.error)
        if tenant_id in self.books.purses:
            raise Violation(f"{effect.act.name}: the account of {tenant_id} is missing")
        effect.act.missed_account = True

    def _close_account(self, effect: Effect) -> str:
        """Nobody deletes a tenant in these worlds, so no account that was ever used may go."""
        tenant_id, _ = effect.args
        purse = self.books.purses.pop(tenant_id, None)
        if purse is not None and (purse.periods or tenant_id in self.books.founded):
            raise Violation(f"{effect.act.name} closed the account of {tenant_id}, which is in use")
        return str(tenant_id)

    def _open_account(self, effect: Effect) -> str:
        tenant_id, limit_nusd, _ = effect.args
        self.books.purses.setdefault(tenant_id, Purse(limit_nusd))
        return f"{tenant_id} {limit_nusd}"

    def _hold(self, effect: Effect) -> str:
        request: HoldRequest = effect.args[0]
        answer, levels = effect.answer, request.levels
        before = self._views_of(levels)
        free_nusd, short = _largest_hold(levels, before)
        known = self.books.decided(request.tenant_id, request.request_id, self._clock.now_ms())
        known = known or self.books.entries.get(request.decision_id)
        if (known is not None) != isinstance(answer, AlreadyDecided):
            raise Violation(f"request {request.request_id!r} of {request.tenant_id} was decided: {known is not None}")
        if known is not None:
            self._check_record(known, answer.record)
        elif isinstance(answer, DoesNotFit):
            if (
                short is None
                or request.hold_nusd <= free_nusd
                or (answer.free_nusd, answer.short) != (free_nusd, short)
            ):
                raise Violation(f"a hold of {request.hold_nusd} was refused ({answer}) with {free_nusd} free")
        else:
            self._admit(effect, request, answer, free_nusd)
        if known is None:
            for level in levels:
                self.books.purses[level.account_id].go_on(level, request.held_ms)
            self._check_alerts(request, answer.alerts)
        after = self._views_of(levels)
        for level, budget, expected in zip(levels, answer.budgets, after, strict=True):
            self._check_state(f"hold for {request.tenant_id}", budget, level.window, expected)
        if isinstance(answer, DoesNotFit):
            effect.act.misfit, effect.act.misfit_free_nusd = decode_decision(request.decision), free_nusd
        effect.act.was_told(levels[0], answer.budget)
        return f"{request.decision_id} {request.hold_nusd} of {free_nusd}: {type(answer).__name__}"

    def _views_of(self, levels: Sequence[Level]) -> list[Account]:
        return [self.books.purses[level.account_id].view(level) for level in levels]

    def _check_alerts(self, request: HoldRequest, told: Sequence[BudgetAlert]) -> None:
        expected = [
            (level.account_id, percent)
            for level in request.levels
            if (percent := self.books.purses[level.account_id].alert(level, request.held_ms))
        ]
        if [(alert.account_id, alert.percent) for alert in told] != expected:
            raise Violation(f"{request.decision_id}: alerts {told}, should be {expected}")

    def _admit(self, effect: Effect, request: HoldRequest, answer: Held, free_nusd: int) -> None:
        """A decision was recorded: it fitted, is what its request asked for, and was drawn as it says."""
        decision, outcome = decode_decision(request.decision), decode_outcome(request.outcome)
        shadow = all(level.shadow for level in request.levels)
        if not shadow and not 0 <= request.hold_nusd <= free_nusd:
            raise Violation(f"{decision.decision_id} holds {request.hold_nusd} of {free_nusd} free")
        promised = (decision.hold_nusd, decision.quote.expected_cost_nusd, decision.deadline_ms, decision.shadow)
        if promised != (request.hold_nusd, request.expected_cost_nusd, request.deadline_ms, shadow):
            raise Violation(f"{decision.decision_id}: the hold differs from the decision {promised}")
        if outcome != Outcome(*promised[:2], expiry_charges=outcome.expiry_charges):
            raise Violation(f"{decision.decision_id} begins with {outcome}")
        for level in request.levels:
            if not level.window.start_ms <= decision.decided_ms < (level.window.end_ms or 2**62):
                raise Violation(f"{decision.decision_id} at {decision.decided_ms} is outside of {level.window}")
        asked = effect.act.route
        if effect.act.kind is not ActKind.ROUTE or asked is None or asked.request_id != decision.request_id:
            raise Violation(f"{decision.decision_id} was made by {effect.act.name}")
        check_decision(decision, free_nusd=free_nusd)
        self.views.check_decision(decision, outcome, asked, effect.act.oldest_view)
        keep = (request.deadline_ms, request.keep_ms)
        entry = Entry(decision, request.decision, outcome, request.outcome, free_nusd, *keep, request.levels)
        entry.covered_nusd = request.hold_nusd
        self._check_record(entry, answer.record)
        self._enter(entry, request)
        effect.act.holds += 1

    def _enter(self, entry: Entry, request: HoldRequest) -> None:
        books = self.books
        books.entries[request.decision_id] = entry
        if request.request_id:
            books.requests[request.tenant_id, request.request_id] = entry
        for level in request.levels:
            period = books.purses[level.account_id].period(level, request.held_ms)
            period.entries.append(entry)
            entry.periods.append(period)
        books.purses[request.tenant_id].contexts.append(request.context)

    def _commit(self, effect: Effect) -> str:
        commit: OutcomeCommit = effect.args[0]
        entry, told = self.books.entries[commit.decision_id], f"{commit.decision_id} revision {commit.revision}"
        is_current = entry.is_kept(self._clock.now_ms()) and entry.revision == commit.revision
        effect.act.committed = effect.answer
        if effect.answer is None:
            if is_current:
                raise Violation(f"commit of {told} was refused, though nobody else had changed it")
            return f"{told}: stale"
        if not is_current or commit.before != entry.packed_outcome:
            raise Violation(f"commit of {told} was taken, though the record is at revision {entry.revision}")
        after = decode_outcome(commit.after)
        self._check_transition(effect, entry, after)
        deadlines = tuple(default_due_ms(outcome, entry.decision) for outcome in (entry.outcome, after))
        if deadlines != (commit.default_was_due_ms, commit.default_due_ms):
            raise Violation(f"commit of {told} says {commit}, its default was and is due {deadlines}")
        if entry.stands and after.billing is not Billing.HELD:
            entry.settled_ms = commit.recorded_ms
        if commit.charges != tuple(level.charge for level in entry.levels):
            raise Violation(f"commit of {told} charges {commit.charges}, the hold was on {entry.levels}")
        entry.follow(after, commit.after)
        effect.act.commits += 1
        self._learn(entry)
        self._check_window_of(entry, effect.answer)
        return f"{told}: {after.billing.name} cost {after.cost_nusd} reward {after.reward}"

    def _check_transition(self, effect: Effect, entry: Entry, after: Outcome) -> None:
        """Only a report, or what is done after a deadline, changes an outcome; and exactly as the rules say."""
        act, before = effect.act, entry.outcome
        if act.kind is ActKind.FEEDBACK and act.feedback is not None:
            expected, _ = after_feedback(before, act.feedback, entry.decision)
        elif act.kind is ActKind.SWEEP and entry.stands and entry.deadline_ms <= self._clock.now_ms():
            expected = after_deadline(before)
        elif act.kind is ActKind.ASSUME and _owes_default(entry, self._clock.now_ms()):
            expected = after_silence(before, entry.decision)
        else:
            raise Violation(f"{act.name} changed {entry.decision.decision_id} from {before} to {after}")
        if after != expected:
            raise Violation(f"{act.name} left {after}, should be {expected}")
        if before.billing is not Billing.HELD and after.billing is Billing.HELD:
            raise Violation(f"{entry.decision.decision_id} is held again")

    def _learn(self, entry: Entry) -> None:
        decision = entry.decision
        partition = partition_of(decision.tenant_id)
        newest: dict[int, str] = at_once(self._store.events.last(decision.pool_id))
        self.lessons.add(decision.pool_id, partition, newest[partition], decision, entry.outcome)

    def _check_window_of(self, entry: Entry, state: BudgetState) -> None:
        account_id, period = entry.levels[0].account_id, entry.periods[0]
        if state.window != period.window:
            raise Violation(f"{entry.decision.decision_id} was booked to {state.window}")
        self.books.check_law(account_id, state.window.name, state.account, period)

    def _read(self, effect: Effect) -> str:
        _, decision_id = effect.args
        record: DecisionRecord | None = effect.answer
        entry = self.books.entries.get(decision_id)
        is_kept = entry is not None and entry.is_kept(self._clock.now_ms())
        is_mine = entry is not None and entry.decision.tenant_id == effect.args[0]
        if (record is not None) != (is_kept and is_mine):
            raise Violation(f"record of {decision_id}: kept {is_kept}, read {record}")
        act = effect.act
        act.read, act.read_of, act.committed = None, None, None
        if entry is not None and record is not None:
            self._check_record(entry, record)
            act.read, act.read_of = entry.outcome, entry.decision
        return f"{decision_id} {'none' if record is None else record.revision}"

    def _find(self, effect: Effect) -> str:
        tenant_id, request_id = effect.args
        entry, record = self.books.decided(tenant_id, request_id, self._clock.now_ms()), effect.answer
        if (entry is None) != (record is None):
            raise Violation(f"request {request_id} of {tenant_id} has {entry}, found was {record}")
        if entry is not None:
            self._check_record(entry, record)
        return f"{tenant_id}/{request_id} {'none' if entry is None else entry.decision.decision_id}"

    def _check_record(self, entry: Entry, record: DecisionRecord) -> None:
        expected = DecisionRecord(entry.packed, entry.packed_outcome, entry.free_nusd, entry.revision)
        if record != expected:
            raise Violation(f"the store has {record}, the books {expected}")

    def _due(self, effect: Effect) -> str:
        now_ms, limit = effect.args
        due: list[DueDecision] = list(effect.answer)
        owed = [e for e in self.books.entries.values() if e.stands and e.deadline_ms <= now_ms]
        wrong = [item for item in due if not self.books.entries[item.decision_id].stands or item.deadline_ms > now_ms]
        if wrong or len(due) != min(limit, len(owed)):
            raise Violation(f"{len(due)} decisions are said to be due, {len(owed)} are; wrong: {wrong}")
        return str(len(due))

    def _defaults_due(self, effect: Effect) -> str:
        """Those that are owed at the time that was asked for, and no other; of some of them the record may be gone."""
        now_ms, limit = effect.args
        due: list[DueDecision] = list(effect.answer)
        entries = self.books.entries
        owed = [e for e in entries.values() if _owes_default(e, now_ms) and e.is_kept(self._clock.now_ms())]
        wrong = [item for item in due if not _owes_default(entries[item.decision_id], now_ms)]
        if wrong or len(due) < min(limit, len(owed)):
            raise Violation(f"{len(due)} defaults are said to be due, {len(owed)} are; wrong: {wrong}")
        return str(len(due))

    def _drop_default(self, effect: Effect) -> str:
        """Only of a record that is gone, or that needs no default as it was read."""
        _, decision_id, revision = effect.args
        entry = self.books.entries[decision_id]
        read = entry.revision if entry.is_kept(self._clock.now_ms()) else None
        if read is not None and read == revision and default_due_ms(entry.outcome, entry.decision) is not None:
            raise Violation(f"{decision_id} is dropped and needs a default")
        return str(decision_id)

    def _budget(self, effect: Effect) -> str:
        level: Level = effect.args[0]
        expected = self.books.purses[level.account_id].view(level)
        self._check_state(f"budget of {level.account_id}", effect.answer, level.window, expected)
        effect.act.was_told(level, effect.answer)
        return f"{level.account_id} {expected.free_nusd} free"

    def _edit(self, effect: Effect) -> str:
        edit, level = effect.args
        purse = self.books.purses[edit.tenant_id]
        limit_nusd = 0 if edit.edit_id in purse.edit_ids else _new_limit(edit, purse.view(level))
        if isinstance(effect.error, LimitError) == (0 <= limit_nusd <= MAX_LIMIT_NUSD):
            raise Violation(f"{edit.kind.value} to {limit_nusd} was answered {effect.error}")
        if effect.error is None:
            expected = purse.edit(edit, level)
            self._check_state(f"edit of {edit.tenant_id}", effect.answer, level.window, expected)
            effect.act.was_told(level, effect.answer)
        return f"{edit.tenant_id} {edit.kind.value} {edit.amount_nusd}"

    def _base_limit(self, effect: Effect) -> str:
        expected = self.books.purses[effect.args[0]].base_limit_nusd
        if effect.answer != expected:
            raise Violation(f"base limit of {effect.args[0]} is {expected}, told was {effect.answer}")
        return str(expected)

    def _recent_contexts(self, effect: Effect) -> str:
        expected = self.books.purses[effect.args[0]].contexts[: -RECENT_CONTEXTS - 1 : -1]
        if list(effect.answer) != expected:
            raise Violation(f"{len(effect.answer)} recent contexts of {effect.args[0]}, should be {len(expected)}")
        return str(len(expected))

    def _check_state(self, where: str, told: BudgetState, window: Window, expected: Account) -> None:
        if told.window.name != window.name or told.account != expected:
            raise Violation(f"{where}: the store says {told}, the books {expected}")

    def _acquire(self, effect: Effect) -> str:
        pool_id, owner, ttl_ms = effect.args
        self.leases.acquired(pool_id, owner, ttl_ms, token=effect.answer, now_ms=self._clock.now_ms())
        return f"{effect.args[0]} {effect.answer}"

    def _release(self, effect: Effect) -> str:
        self.leases.released(*effect.args)
        return str(effect.args[0])

    def _save(self, effect: Effect) -> str:
        pool_id, token, snapshot = effect.args
        assert isinstance(snapshot, Snapshot)
        if effect.answer:
            self.leases.saved(pool_id, token)
            self.lessons.check(pool_id, decode_pool_state(snapshot.state))
        return f"{pool_id} {snapshot.version}: {effect.answer}"

    def _put(self, effect: Effect) -> str:
        kind, key, body = effect.args
        if effect.error is None:
            self.views.changed(kind, key, effect.answer.version, body)
        return f"{kind.value} {key}"

    def _delete(self, effect: Effect) -> str:
        kind, key = effect.args
        if effect.answer:
            self.views.changed(kind, key, self.catalog_version(), None)
        return f"{kind.value} {key}"

    def _changes(self, effect: Effect) -> str:
        if not effect.ghost:
            effect.act.seen_version = effect.answer.version
        return f"{effect.args[0]}..{effect.answer.version}"

    def catalog_version(self) -> int:
        """The version that the catalog stands at."""
        answer: Any = at_once(self._store.catalog.changes(2**62))
        return int(answer.version)


def _owes_default(entry: Entry, now_ms: int) -> bool:
    """Whether the default is due of it at this time."""
    due_ms = default_due_ms(entry.outcome, entry.decision)
    return due_ms is not None and due_ms <= now_ms


def _largest_hold(levels: Sequence[Level], accounts: Sequence[Account]) -> tuple[int, int | None]:
    """What can be held at most, and the first level that has no more; None if none of them would refuse."""
    free = [account.free_nusd for account in accounts]
    refusing = [(free[index], index) for index, level in enumerate(levels) if not level.shadow]
    return min(refusing) if refusing else (free[0], None)


def _new_limit(edit: BudgetEdit, before: Account) -> int:
    if edit.kind is BudgetEditKind.RESET:
        return before.limit_nusd
    return edit.amount_nusd + (before.limit_nusd if edit.kind is BudgetEditKind.GRANT else 0)
