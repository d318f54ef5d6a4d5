"""Memory and Redis side by side: after any sequence of calls both have answered alike, and the budget law holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

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
from ledger_books import Book, Shelf
from ledger_builders import DAY_MS, FIXED, POOL, commit_of, day, edit_of, hold_request, level_of, month, session_of

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.adapters.redis import connect
from bandit_router.adapters.system import SystemClock
from bandit_router.core.budget import BudgetEditKind, LimitError
from bandit_router.core.codec import decode_outcome
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Bill, Billing, Feedback, OutcomeKind, apply_feedback, expire
from bandit_router.ports.ledger import AccountMissing, DoesNotFit, EditIdTaken, Held, Level
from tests.conftest import STORE_TIMEOUT_S, flush

TENANT = "acme/team"
ABOVE = "acme"
LIMIT_NUSD = 100
NAMES = ("-2", "-1", "0", "0", "month", "later", "total")
"""Windows: three days, the month that they are in, another one, and a total; changes of the rule go between them."""

names = st.sampled_from(NAMES)
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
    """A decision that both stores have admitted, on levels above its own; `alive` as long as its account.

    `written_off_nusd`: what resets of its own window have; `covered_nusd`: the least set aside or booked at any time.
    """

    decision_id: str
    name: str
    above: tuple[Level, ...]
    covered_nusd: int
    books: tuple[Book, ...] = ()
    alive: bool = True
    written_off_nusd: int = 0


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
        self.shelves = {TENANT: Shelf(), ABOVE: Shelf()}
        self.generation = 0
        self.was_lowered = False
        self.was_shadow = False
        self.both("open_account", ABOVE, 5 * LIMIT_NUSD, 1)
        self.open(again=True)

    async def _connect(self):
        return connect(self.url, STORE_TIMEOUT_S)

    def teardown(self):
        if hasattr(self, "runner"):
            self.runner.run(self.redis.close())
            self.runner.close()

    def both(self, method, *args, strip=False, **kwargs):
        """Call a ledger method on both stores; they must agree, be it on the error. Returns (answer, error)."""
        answers = [self.runner.run(_outcome(getattr(s.ledger, method)(*args, **kwargs))) for s in self.stores]
        if strip:  # entries of audit trails have ids of their own
            answers = [([(e.edit, e.before, e.after) for e in trail], error) for trail, error in answers]
        assert answers[0] == answers[1]
        return answers[0]

    @property
    def stores(self):
        return (self.memory, self.redis)

    def window(self, name):
        if name == "total":
            return FIXED
        if name in ("month", "later"):
            return month(self.now_ms + 30 * DAY_MS * int(name == "later"))
        return day(self.now_ms, int(name))

    def time_of_call(self, is_late):
        """Later from call to call, but for calls that were under way for long."""
        return self.now_ms - 1000 if is_late else self.now_ms + self.count

    @rule(
        hold_nusd=amounts,
        name=names,
        carry_over=st.booleans(),
        shadow=st.booleans(),
        request=st.integers(0, 12),
        above=st.none() | names,
        session=st.sampled_from(["", "s", "t u"]),
        is_late=st.integers(0, 5).map(lambda number: number == 0),
    )
    def hold(self, hold_nusd, name, carry_over, shadow, request, above, session, is_late):
        self.count += 1
        decision_id = f"d{self.count}"
        levels = (
            *((level_of(self.window(above), account_id=ABOVE, alert_percents=(60,)),) if above else ()),
            *((replace(session_of(session, 80), account_id=TENANT),) if session else ()),
        )
        answer, error = self.both(
            "hold",
            hold_request(
                self.time_of_call(is_late),
                hold_nusd=hold_nusd,
                decision_id=decision_id,
                tenant_id=TENANT,
                request_id=f"r{request}" if request else "",
                window=self.window(name),
                carry_over=carry_over,
                shadow=shadow,
                charges=hold_nusd % 2 == 0,
                context=decision_id.encode(),
                alerts=(50, 80),
                above=levels,
            ),
        )
        assert (error is AccountMissing) == (not self.is_open)
        called = [(TENANT, name), *([(ABOVE, above)] if above else [])]
        if isinstance(answer, Held | DoesNotFit):
            opens, at_ms = isinstance(answer, Held), self.time_of_call(is_late)
            books = [self.shelves[account].use(self.window(name), at_ms, opens=opens) for account, name in called]
        if isinstance(answer, Held):
            self.made.append(Made(decision_id, name, levels, hold_nusd, tuple(books)))
            self.was_shadow = self.was_shadow or shadow
            assert all(budget.account.free_nusd >= 0 for budget in answer.budgets[int(shadow) :])
        if isinstance(answer, DoesNotFit):
            refusing = answer.budgets[int(shadow) :]
            assert hold_nusd > answer.free_nusd == min(budget.account.free_nusd for budget in refusing)

    @precondition(lambda self: self.made)
    @rule(pick=st.integers(0, 10**6), feedback=st.none() | feedbacks, stale=st.booleans())
    def settle(self, pick, feedback, stale):
        made = self.made[pick % len(self.made)]
        record, _ = self.both("read", TENANT, made.decision_id)
        outcome = decode_outcome(record.outcome)
        transition = expire(outcome) if feedback is None else apply_feedback(outcome, feedback)
        if not transition.changed:
            return
        names = {
            "tenant_id": TENANT,
            "decision_id": made.decision_id,
            "window": self.window(made.name),
            "above": made.above,
        }
        commit = commit_of(record, transition, self.now_ms, **names)
        assert self.both("commit", commit)[0] is not None
        if transition.outcome.billing is not Billing.HELD:
            made.covered_nusd = min(made.covered_nusd, transition.outcome.cost_nusd)
        if stale:
            assert self.both("commit", commit)[0] is None

    @rule(
        kind=st.sampled_from([BudgetEditKind.SET_LIMIT, BudgetEditKind.GRANT, BudgetEditKind.RESET]),
        amount_nusd=st.integers(-150, 300) | st.sampled_from([MAX_LIMIT_NUSD, MAX_LIMIT_NUSD + 1, 2**70]),
        name=names,
        carry_over=st.booleans(),
        edit_id=st.sampled_from(["", "", "e1", "e2"]),
        is_late=st.booleans(),
    )
    def edit(self, kind, amount_nusd, name, carry_over, edit_id, is_late):
        self.count += 1
        trail = self.both("audit", TENANT, after_id="", limit=10_000, strip=True)[0]
        level = level_of(self.window(name), carry_over=carry_over, account_id=TENANT, alert_percents=(50, 80))
        edit = edit_of(kind, amount_nusd, edit_id=edit_id, tenant_id=TENANT, edited_ms=self.time_of_call(is_late))
        _, error = self.both("edit_budget", edit, level)
        was_made = error is None and len(self.both("audit", TENANT, after_id="", limit=10_000, strip=True)[0]) > len(
            trail
        )
        self.was_lowered = self.was_lowered or (was_made and kind is not BudgetEditKind.RESET)
        book = self.shelves[TENANT].use(level.window, edit.edited_ms) if was_made else None
        if was_made and kind is BudgetEditKind.RESET:
            for made in self.made:
                if made.alive and made.books[0] is book and self._outcome_of(made).billing is not Billing.HELD:
                    made.written_off_nusd = max(made.written_off_nusd, self._outcome_of(made).cost_nusd)

    @rule(again=st.booleans())
    def open(self, again):
        """A new account, or a late repetition of the opening of this one or an earlier one."""
        if again and not self.is_open:
            self.generation += 1
            self.is_open = True
            self.both("open_account", TENANT, LIMIT_NUSD, self.generation)
        elif self.is_open:
            self.both("open_account", TENANT, 7, self.generation - int(again))

    @precondition(lambda self: self.count > 5)
    @rule(really=st.integers(0, 4))
    def close(self, really):
        """The end of the account, or a late repetition of an earlier end."""
        self.both("close_account", TENANT, self.generation - int(really > 0))
        if really == 0:
            self.is_open = False
            self.shelves[TENANT] = Shelf()
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
        for name in NAMES:
            level = level_of(self.window(name), carry_over=True, account_id=TENANT)
            book = self.shelves[TENANT].find(level.window)
            mine = [made for made in self.made if made.alive and made.books[0] is book]
            self.check(self.both("budget", level)[0].account, mine, own=True)
            above = replace(level, account_id=ABOVE, carry_over=False)
            book = self.shelves[ABOVE].find(level.window)
            theirs = [made for made in self.made if book is not None and book in made.books[1:]]
            self.check(self.both("budget", above)[0].account, theirs, own=False)

    def check(self, account, decisions, *, own):
        """The law, and every counter the sum over the decisions; resets are made in the tenant's own windows only."""
        outcomes = [self._outcome_of(made) for made in decisions]
        standing = [outcome for outcome in outcomes if outcome.billing is Billing.HELD]
        spent = over = 0
        for made, outcome in zip(decisions, outcomes, strict=True):
            off_nusd = made.written_off_nusd if own else 0
            spent += max(0, outcome.cost_nusd - off_nusd)
            over += max(0, outcome.cost_nusd - (off_nusd or made.covered_nusd))
        assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
        assert account.held_nusd == sum(outcome.hold_nusd for outcome in standing)
        assert account.in_flight_nusd == sum(outcome.expected_cost_nusd for outcome in standing)
        assert (account.decisions, account.spent_nusd, account.overrun_nusd) == (len(decisions), spent, over)
        if not own or not (self.was_lowered or self.was_shadow):
            assert account.held_nusd + account.spent_nusd <= account.limit_nusd + account.overrun_nusd

    @invariant()
    def logs_agree(self):
        if not hasattr(self, "runner"):
            return
        logs = [self.runner.run(s.events.read(POOL, {}, 10_000)) for s in self.stores]
        assert [_content(entry) for entry in logs[0]] == [_content(entry) for entry in logs[1]]
        self.both("recent_contexts", TENANT)
        for account_id in (TENANT, ABOVE):
            self.both("audit", account_id, after_id="", limit=10_000, strip=True)

    def _outcome_of(self, made):
        return decode_outcome(self.runner.run(self.memory.ledger.read(TENANT, made.decision_id)).outcome)


async def _outcome(call):
    try:
        return await call, None
    except (AccountMissing, EditIdTaken, LimitError) as error:
        return None, type(error)


def _content(entry):
    return (entry.partition, entry.decision, entry.before, entry.after, entry.free_nusd, entry.recorded_ms)


@pytest.mark.parametrize("server", ["valkey_url", "redis_url"])
def test_memory_and_redis_agree_and_keep_the_budget_law(request, server):
    machine = type("Machine", (LedgerMachine,), {"url": request.getfixturevalue(server)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
