"""Memory and Redis side by side: after any sequence of calls both have answered alike, and the budget law holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_builders import DAY_MS, POOL, commit_of, edit_of, hold_request

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.adapters.redis import connect
from bandit_router.adapters.system import SystemClock
from bandit_router.core.budget import BudgetEditKind, LimitError
from bandit_router.core.codec import decode_outcome
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Bill, Billing, Feedback, OutcomeKind, apply_feedback, expire
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import AccountMissing, Held
from tests.conftest import STORE_TIMEOUT_S, flush

TENANT = "acme"
LIMIT_NUSD = 100
DAYS = (0, 1, 2)

days = st.sampled_from(DAYS)
amounts = st.integers(0, 60)
feedbacks = st.builds(
    Feedback,
    bill=st.none() | st.builds(Bill, cost_nusd=amounts),
    reward=st.none() | st.sampled_from([0.0, 0.25, 1.0]),
    kind=st.sampled_from(OutcomeKind),
    correct=st.booleans(),
    retract=st.booleans(),
    idempotency_key=st.sampled_from(["", "k1", "k2"]),
)


@dataclass
class Made:
    """A decision that both stores have admitted; `alive` while its account is the one that admitted it."""

    decision_id: str
    day: int
    alive: bool = True


class LedgerMachine(RuleBasedStateMachine):
    url = ""

    @initialize()
    def start(self):
        flush(self.url)
        self.now_ms = SystemClock().now_ms()
        self.runner = asyncio.Runner()
        self.memory = MemoryStore(ManualClock(self.now_ms))
        self.redis = self.runner.run(self._connect())
        self.made: list[Made] = []
        self.count = 0
        self.is_open = False
        self.open()

    async def _connect(self):
        return connect(self.url, STORE_TIMEOUT_S)

    def teardown(self):
        if hasattr(self, "runner"):
            self.runner.run(self.redis.close())
            self.runner.close()

    def both(self, method, *args, **kwargs):
        """Call a ledger method on both stores; they must agree, be it on the error. Returns (answer, error)."""
        answers = [self.runner.run(_outcome(getattr(s.ledger, method)(*args, **kwargs))) for s in self.stores]
        assert answers[0] == answers[1]
        return answers[0]

    @property
    def stores(self):
        return (self.memory, self.redis)

    def window(self, day):
        start_ms = (self.now_ms // DAY_MS + day - 2) * DAY_MS
        return Window(start_ms, start_ms + DAY_MS, start_ms - DAY_MS)

    @rule(hold_nusd=amounts, day=days, carry_over=st.booleans(), shadow=st.booleans(), request=st.integers(0, 12))
    def hold(self, hold_nusd, day, carry_over, shadow, request):
        self.count += 1
        decision_id = f"d{self.count}"
        answer, error = self.both(
            "hold",
            hold_request(
                self.now_ms,
                hold_nusd=hold_nusd,
                decision_id=decision_id,
                request_id=f"r{request}" if request else "",
                window=self.window(day),
                carry_over=carry_over,
                shadow=shadow,
                charges=hold_nusd % 2 == 0,
                context=decision_id.encode(),
            ),
        )
        assert (error is AccountMissing) == (not self.is_open)
        if isinstance(answer, Held):
            self.made.append(Made(decision_id, day))
            assert shadow or answer.budget.account.free_nusd >= 0

    @precondition(lambda self: self.made)
    @rule(pick=st.integers(0, 10**6), feedback=st.none() | feedbacks, stale=st.booleans())
    def settle(self, pick, feedback, stale):
        made = self.made[pick % len(self.made)]
        record, _ = self.both("read", TENANT, made.decision_id)
        outcome = decode_outcome(record.outcome)
        transition = expire(outcome) if feedback is None else apply_feedback(outcome, feedback)
        if not transition.changed:
            return
        commit = commit_of(record, transition, self.now_ms, decision_id=made.decision_id, window=self.window(made.day))
        assert self.both("commit", commit)[0] is not None
        if stale:
            assert self.both("commit", commit)[0] is None

    @rule(
        kind=st.sampled_from(BudgetEditKind),
        amount_nusd=st.integers(-150, 300) | st.sampled_from([MAX_LIMIT_NUSD, MAX_LIMIT_NUSD + 1, 2**70]),
        day=days,
        carry_over=st.booleans(),
    )
    def edit(self, kind, amount_nusd, day, carry_over):
        self.both("edit_budget", edit_of(kind, amount_nusd), self.window(day), carry_over=carry_over)

    @rule()
    def open(self):
        self.both("open_account", TENANT, LIMIT_NUSD)
        self.is_open = True

    @precondition(lambda self: self.count > 5)
    @rule(really=st.integers(0, 4))
    def close(self, really):
        if really == 0:
            self.both("close_account", TENANT)
            self.is_open = False
            for made in self.made:
                made.alive = False

    @rule(later_ms=st.sampled_from([0, DAY_MS]), limit=st.integers(1, 5))
    def due(self, later_ms, limit):
        due = [self.runner.run(s.ledger.due(self.now_ms + later_ms, limit)) for s in self.stores]
        assert len(due[0]) == len(due[1])
        if limit > len(due[0]):
            assert set(due[0]) == set(due[1])

    @invariant()
    def windows_agree_and_obey_the_law(self):
        if not hasattr(self, "runner") or not self.is_open:
            return
        outcomes = [(m, self._outcome_of(m)) for m in self.made if m.alive]
        for day in DAYS:
            state, _ = self.both("budget", TENANT, self.window(day), carry_over=True)
            account = state.account
            assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
            mine = [outcome for made, outcome in outcomes if made.day == day]
            standing = [outcome for outcome in mine if outcome.billing is Billing.HELD]
            assert account.held_nusd == sum(outcome.hold_nusd for outcome in standing)
            assert account.in_flight_nusd == sum(outcome.expected_cost_nusd for outcome in standing)
            assert account.decisions == len(mine)

    @invariant()
    def logs_agree(self):
        if not hasattr(self, "runner"):
            return
        logs = [self.runner.run(s.events.read(POOL, {}, 10_000)) for s in self.stores]
        assert [_content(entry) for entry in logs[0]] == [_content(entry) for entry in logs[1]]
        self.both("recent_contexts", TENANT)
        trails = [self.runner.run(s.ledger.audit(TENANT, after_id="", limit=10_000)) for s in self.stores]
        assert [(e.edit, e.before, e.after) for e in trails[0]] == [(e.edit, e.before, e.after) for e in trails[1]]

    def _outcome_of(self, made):
        return decode_outcome(self.runner.run(self.memory.ledger.read(TENANT, made.decision_id)).outcome)


async def _outcome(call):
    try:
        return await call, None
    except (AccountMissing, LimitError) as error:
        return None, type(error)


def _content(entry):
    return (entry.partition, entry.decision, entry.before, entry.after, entry.free_nusd, entry.recorded_ms)


@pytest.mark.parametrize("server", ["valkey_url", "redis_url"])
def test_memory_and_redis_agree_and_keep_the_budget_law(request, server):
    machine = type("Machine", (LedgerMachine,), {"url": request.getfixturevalue(server)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
