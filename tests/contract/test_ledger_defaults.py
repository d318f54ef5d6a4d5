"""Ledger: which decisions a default reward is to be assumed of, kept in step with their outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_builders import HOUR_MS, TENANT, commit_of, hold_request

from bandit_router.core.codec import decode_outcome
from bandit_router.core.outcomes import Bill, Feedback, apply_feedback
from bandit_router.ports.ledger import DueDecision


@pytest.fixture
async def ledger(store, now_ms):
    await store.ledger.open_account(TENANT, 100, 1)
    for decision_id in ("d1", "d2", "d3"):
        await store.ledger.hold(hold_request(now_ms, decision_id=decision_id))
    return store.ledger


async def report(ledger, feedback, now_ms, decision_id="d1", *, was=None, due=None):
    """Commit a report, with the deadlines of the default before and after."""
    record = await ledger.read(TENANT, decision_id)
    transition = apply_feedback(decode_outcome(record.outcome), feedback)
    commit = commit_of(record, transition, now_ms, decision_id=decision_id)
    return await ledger.commit(replace(commit, default_was_due_ms=was, default_due_ms=due))


async def due(ledger, now_ms, limit=10):
    return [(item.decision_id, item.deadline_ms) for item in await ledger.defaults_due(now_ms, limit)]


async def test_decisions_are_due_from_their_deadline_on_earliest_first(ledger, now_ms):
    for number, decision_id in enumerate(("d3", "d1", "d2")):
        await report(ledger, Feedback(bill=Bill(4)), now_ms, decision_id, due=now_ms + number)
    assert await due(ledger, now_ms - 1) == []
    assert await due(ledger, now_ms) == [("d3", now_ms)]
    assert await due(ledger, now_ms + 2) == [("d3", now_ms), ("d1", now_ms + 1), ("d2", now_ms + 2)]
    assert await due(ledger, now_ms + 2, limit=2) == [("d3", now_ms), ("d1", now_ms + 1)]
    assert (await ledger.defaults_due(now_ms, 1))[0] == DueDecision(TENANT, "d3", now_ms)


async def test_a_reward_takes_the_decision_out(ledger, now_ms):
    await report(ledger, Feedback(bill=Bill(4)), now_ms, due=now_ms)
    await report(ledger, Feedback(reward=0.5), now_ms, was=now_ms)
    assert await due(ledger, now_ms) == []


async def test_a_deadline_stays_where_it_is_while_nothing_is_said_of_the_reward(ledger, now_ms):
    await report(ledger, Feedback(bill=Bill(4)), now_ms, due=now_ms)
    await report(ledger, Feedback(latency_ms=7), now_ms, was=now_ms, due=now_ms)
    assert await due(ledger, now_ms) == [("d1", now_ms)]


async def test_a_decision_may_come_back(ledger, now_ms):
    await report(ledger, Feedback(bill=Bill(4)), now_ms, due=now_ms)
    await report(ledger, Feedback(latency_ms=7), now_ms, was=now_ms)
    await report(ledger, Feedback(latency_ms=8, correct=True), now_ms, due=now_ms)
    assert await due(ledger, now_ms) == [("d1", now_ms)]


async def test_a_commit_at_a_stale_revision_leaves_the_deadline_alone(ledger, now_ms):
    record = await ledger.read(TENANT, "d1")
    await report(ledger, Feedback(bill=Bill(4)), now_ms, due=now_ms)
    transition = apply_feedback(decode_outcome(record.outcome), Feedback(reward=0.5))
    stale = replace(commit_of(record, transition, now_ms), default_was_due_ms=now_ms)
    assert await ledger.commit(stale) is None
    assert await due(ledger, now_ms) == [("d1", now_ms)]


async def test_a_decision_is_dropped_only_at_the_revision_that_was_read(ledger, now_ms):
    await report(ledger, Feedback(bill=Bill(4)), now_ms, due=now_ms)
    await ledger.drop_default(TENANT, "d1", 0)
    await ledger.drop_default(TENANT, "d1", None)
    assert await due(ledger, now_ms) == [("d1", now_ms)]
    await ledger.drop_default(TENANT, "d1", 1)
    assert await due(ledger, now_ms) == []


async def test_a_decision_whose_record_is_gone_can_be_dropped(store, now_ms):
    ledger = store.ledger
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms - 2 * HOUR_MS, keep_ms=0, ttl_ms=HOUR_MS))
    await report(ledger, Feedback(bill=Bill(4)), now_ms - HOUR_MS, due=now_ms)
    assert await ledger.read(TENANT, "d1") is None
    assert await due(ledger, now_ms) == [("d1", now_ms)]
    await ledger.drop_default(TENANT, "d1", None)
    assert await due(ledger, now_ms) == []


async def test_holds_and_defaults_are_due_apart(ledger, now_ms):
    await report(ledger, Feedback(bill=Bill(4)), now_ms, due=now_ms)
    assert {item.decision_id for item in await ledger.due(now_ms + HOUR_MS, 10)} == {"d2", "d3"}
    assert await due(ledger, now_ms + HOUR_MS) == [("d1", now_ms)]
