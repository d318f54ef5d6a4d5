"""The watch: every call that reaches the store is checked at that very moment against the books."""

from __future__ import annotations

from collections.abc import Callable
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
    BudgetEdit,
    BudgetState,
    DecisionRecord,
    DoesNotFit,
    DueDecision,
    Held,
    HoldRequest,
    OutcomeCommit,
)
from bandit_router.ports.snapshots import Snapshot
from bandit_router_sim.world.acts import ActKind
from bandit_router_sim.world.books import MAX_LIMIT_NUSD, Books, Entry, Purse
from bandit_router_sim.world.draws import check_decision
from bandit_router_sim.world.expectations import after_deadline, after_feedback
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
        for tenant_id, purse in self.books.purses.items():
            for start_ms in purse.periods:
                state: BudgetState = at_once(self._store.ledger.budget(tenant_id, Window(start_ms), carry_over=False))
                self.books.check_law(tenant_id, start_ms, state.account)

    def _check_missing(self, effect: Effect) -> None:
        """No account is missing that was opened."""
        asked = effect.args[0]
        tenant_id = asked if isinstance(asked, str) else asked.tenant_id
        if tenant_id in self.books.purses:
            raise Violation(f"{effect.act.name}: the account of {tenant_id} is missing")
        effect.act.missed_account = True

    def _close_account(self, effect: Effect) -> str:
        """Nobody deletes a tenant in these worlds, so no account that was ever used may go."""
        tenant_id = effect.args[0]
        purse = self.books.purses.pop(tenant_id, None)
        if purse is not None and (purse.periods or tenant_id in self.books.founded):
            raise Violation(f"{effect.act.name} closed the account of {tenant_id}, which is in use")
        return str(tenant_id)

    def _open_account(self, effect: Effect) -> str:
        tenant_id, limit_nusd = effect.args
        self.books.purses.setdefault(tenant_id, Purse(limit_nusd))
        return f"{tenant_id} {limit_nusd}"

    def _hold(self, effect: Effect) -> str:
        request: HoldRequest = effect.args[0]
        purse, answer = self.books.purses[request.tenant_id], effect.answer
        before = purse.view(request.window, carry_over=request.carry_over)
        known = self.books.decided(request.tenant_id, request.request_id, self._clock.now_ms())
        known = known or self.books.entries.get(request.decision_id)
        if (known is not None) != isinstance(answer, AlreadyDecided):
            raise Violation(f"request {request.request_id!r} of {request.tenant_id} was decided: {known is not None}")
        if known is not None:
            self._check_record(known, answer.record)
        elif isinstance(answer, DoesNotFit):
            if request.shadow or request.hold_nusd <= before.free_nusd:
                raise Violation(f"a hold of {request.hold_nusd} was refused with {before.free_nusd} free")
        else:
            self._admit(effect, request, answer, before)
        after = purse.view(request.window, carry_over=request.carry_over)
        self._check_state(f"hold for {request.tenant_id}", answer.budget, request.window, after)
        self._remember_hold(effect, request, before)
        effect.act.shown = answer.budget
        return f"{request.decision_id} {request.hold_nusd} of {before.free_nusd}: {type(answer).__name__}"

    def _remember_hold(self, effect: Effect, request: HoldRequest, before: Account) -> None:
        if isinstance(effect.answer, DoesNotFit):
            effect.act.misfit = decode_decision(request.decision)
            effect.act.misfit_free_nusd = before.free_nusd

    def _admit(self, effect: Effect, request: HoldRequest, answer: Held, before: Account) -> None:
        """A decision was recorded: it fitted, is what its request asked for, and was drawn as it says."""
        decision, outcome = decode_decision(request.decision), decode_outcome(request.outcome)
        if not request.shadow and not 0 <= request.hold_nusd <= before.free_nusd:
            raise Violation(f"{decision.decision_id} holds {request.hold_nusd} of {before.free_nusd} free")
        promised = (decision.hold_nusd, decision.quote.expected_cost_nusd, decision.deadline_ms, decision.shadow)
        if promised != (request.hold_nusd, request.expected_cost_nusd, request.deadline_ms, request.shadow):
            raise Violation(f"{decision.decision_id}: the hold differs from the decision {promised}")
        if outcome != Outcome(*promised[:2], expiry_charges=outcome.expiry_charges):
            raise Violation(f"{decision.decision_id} begins with {outcome}")
        if not request.window.start_ms <= decision.decided_ms < (request.window.end_ms or 2**62):
            raise Violation(f"{decision.decision_id} at {decision.decided_ms} is outside of {request.window}")
        asked = effect.act.route
        if effect.act.kind is not ActKind.ROUTE or asked is None or asked.request_id != decision.request_id:
            raise Violation(f"{decision.decision_id} was made by {effect.act.name}")
        free_nusd = before.free_nusd
        check_decision(decision, free_nusd=free_nusd)
        self.views.check_decision(decision, outcome, asked, effect.act.oldest_view)
        keep = (request.deadline_ms, request.keep_ms)
        entry = Entry(decision, request.decision, outcome, request.outcome, free_nusd, *keep)
        self._check_record(entry, answer.record)
        self._enter(entry, request)
        effect.act.holds += 1

    def _enter(self, entry: Entry, request: HoldRequest) -> None:
        books = self.books
        books.entries[request.decision_id] = entry
        if request.request_id:
            books.requests[request.tenant_id, request.request_id] = entry
        period = books.purses[request.tenant_id].period(request.window, carry_over=request.carry_over)
        period.entries.append(entry)
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
        if entry.stands and after.billing is not Billing.HELD:
            entry.settled_ms = commit.recorded_ms
        entry.outcome, entry.packed_outcome, entry.revision = after, commit.after, entry.revision + 1
        effect.act.commits += 1
        self._learn(entry)
        self._check_window_of(entry, effect.answer)
        return f"{told}: {after.billing.name} cost {after.cost_nusd} reward {after.reward}"

    def _check_transition(self, effect: Effect, entry: Entry, after: Outcome) -> None:
        """Only a report, or a sweeper after the deadline, changes an outcome; and exactly as the rules say."""
        act, before = effect.act, entry.outcome
        if act.kind is ActKind.FEEDBACK and act.feedback is not None:
            expected, _ = after_feedback(before, act.feedback, entry.decision)
        elif act.kind is ActKind.SWEEP and entry.stands and entry.deadline_ms <= self._clock.now_ms():
            expected = after_deadline(before)
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
        tenant_id, start_ms = entry.decision.tenant_id, entry.decision.window_start_ms
        if state.window.start_ms != start_ms:
            raise Violation(f"{entry.decision.decision_id} was booked to {state.window}")
        self.books.check_law(tenant_id, start_ms, state.account)

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

    def _budget(self, effect: Effect) -> str:
        tenant_id, window = effect.args
        expected = self.books.purses[tenant_id].view(window, carry_over=effect.options["carry_over"])
        self._check_state(f"budget of {tenant_id}", effect.answer, window, expected)
        effect.act.shown = effect.answer
        return f"{tenant_id} {expected.free_nusd} free"

    def _edit(self, effect: Effect) -> str:
        edit, window = effect.args
        purse, carry_over = self.books.purses[edit.tenant_id], effect.options["carry_over"]
        limit_nusd = _new_limit(edit, purse.view(window, carry_over=carry_over))
        if isinstance(effect.error, LimitError) == (0 <= limit_nusd <= MAX_LIMIT_NUSD):
            raise Violation(f"{edit.kind.value} to {limit_nusd} was answered {effect.error}")
        if effect.error is None:
            expected = purse.edit(edit, window, carry_over=carry_over)
            self._check_state(f"edit of {edit.tenant_id}", effect.answer, window, expected)
            effect.act.shown = effect.answer
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
        if told.window.start_ms != window.start_ms or told.account != expected:
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


def _new_limit(edit: BudgetEdit, before: Account) -> int:
    if edit.kind is BudgetEditKind.RESET:
        return before.limit_nusd
    return edit.amount_nusd + (before.limit_nusd if edit.kind is BudgetEditKind.GRANT else 0)
