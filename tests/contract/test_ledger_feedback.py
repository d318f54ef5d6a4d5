"""Ledger: outcomes through read, core's transition, commit; and the money that follows them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from ledger_builders import DAY_MS, FIXED, POOL, TENANT, budget_of, commit_of, day, give, hold_request

from bandit_router.core.budget import Account
from bandit_router.core.codec import decode_outcome, encode_outcome
from bandit_router.core.outcomes import Bill, Billing, Feedback, FeedbackStatus, OutcomeKind, apply_feedback
from bandit_router.ports.ledger import Held

APPLIED, DUPLICATE, CORRECTED = FeedbackStatus.APPLIED, FeedbackStatus.DUPLICATE, FeedbackStatus.CORRECTED


@pytest.fixture
async def ledger(store, now_ms):
    """A ledger with one decision, whose hold is 10 of a limit of 100."""
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, hold_nusd=10))
    return store.ledger


async def outcome_of(ledger, decision_id="d1"):
    record = await ledger.read(TENANT, decision_id)
    return decode_outcome(record.outcome)


async def events_of(store):
    return [(decode_outcome(e.before), decode_outcome(e.after)) for e in await store.events.read(POOL, {}, 100)]


async def test_a_bill_replaces_the_hold(ledger, now_ms):
    assert await give(ledger, Feedback(bill=Bill(4)), now_ms) is APPLIED
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=4, decisions=1)


async def test_a_bill_above_its_hold_is_counted_as_overrun(ledger, now_ms):
    await give(ledger, Feedback(bill=Bill(17)), now_ms)
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=17, overrun_nusd=7, decisions=1)


async def test_commit_tells_the_window_after_it(ledger, now_ms):
    record = await ledger.read(TENANT, "d1")
    transition = apply_feedback(decode_outcome(record.outcome), Feedback(bill=Bill(4)))
    state = await ledger.commit(commit_of(record, transition, now_ms))
    assert state == await budget_of(ledger)


async def test_commit_tells_the_whole_calendar_window(store, now_ms):
    today = day(now_ms)
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, window=today))
    record = await store.ledger.read(TENANT, "d1")
    transition = apply_feedback(decode_outcome(record.outcome), Feedback(bill=Bill(4)))
    state = await store.ledger.commit(commit_of(record, transition, now_ms, window=today))
    assert state.window == today


async def test_commit_at_a_stale_revision_changes_nothing(store, ledger, now_ms):
    record = await ledger.read(TENANT, "d1")
    await give(ledger, Feedback(reward=0.5), now_ms)
    before = (await budget_of(ledger), await ledger.read(TENANT, "d1"), await events_of(store))
    transition = apply_feedback(decode_outcome(record.outcome), Feedback(bill=Bill(4)))
    assert await ledger.commit(commit_of(record, transition, now_ms)) is None
    assert (await budget_of(ledger), await ledger.read(TENANT, "d1"), await events_of(store)) == before


async def test_commit_at_an_outcome_that_the_record_never_had_changes_nothing(store, ledger, now_ms):
    record = await ledger.read(TENANT, "d1")
    seen = apply_feedback(decode_outcome(record.outcome), Feedback(reward=0.5)).outcome
    lost = replace(record, outcome=encode_outcome(seen))
    before = (await budget_of(ledger), await ledger.read(TENANT, "d1"), await events_of(store))
    assert await ledger.commit(commit_of(lost, apply_feedback(seen, Feedback(bill=Bill(4))), now_ms)) is None
    assert (await budget_of(ledger), await ledger.read(TENANT, "d1"), await events_of(store)) == before


async def test_commit_of_an_unknown_decision_changes_nothing(store, ledger, now_ms):
    record = await ledger.read(TENANT, "d1")
    transition = apply_feedback(decode_outcome(record.outcome), Feedback(bill=Bill(4)))
    assert await ledger.commit(commit_of(record, transition, now_ms, decision_id="d9")) is None
    assert await events_of(store) == []


async def test_the_same_bill_twice_is_paid_once(store, ledger, now_ms):
    await give(ledger, Feedback(bill=Bill(4)), now_ms)
    assert await give(ledger, Feedback(bill=Bill(4)), now_ms) is DUPLICATE
    assert (await budget_of(ledger)).account.spent_nusd == 4
    assert len(await events_of(store)) == 1


async def test_concurrent_bills_from_two_replicas_are_paid_once(backend, ledger, now_ms):
    replicas = [ledger, backend.another().ledger]
    statuses = await asyncio.gather(
        *(give(replicas[n % 2], Feedback(bill=Bill(4), idempotency_key=f"k{n}"), now_ms) for n in range(20))
    )
    assert sorted(status.value for status in statuses) == ["applied"] + ["duplicate"] * 19
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=4, decisions=1)


async def test_an_idempotency_key_applies_a_correction_once(ledger, now_ms):
    await give(ledger, Feedback(bill=Bill(4)), now_ms)
    correction = Feedback(bill=Bill(6), correct=True, idempotency_key="k1")
    assert await give(ledger, correction, now_ms) is CORRECTED
    assert await give(ledger, correction, now_ms) is DUPLICATE


async def test_a_correction_leaves_the_money_as_if_only_the_last_bill_had_come(ledger, now_ms):
    for cost_nusd in (4, 17, 3):
        await give(ledger, Feedback(bill=Bill(cost_nusd), correct=True), now_ms)
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=3, decisions=1)


async def test_reward_before_bill_keeps_the_hold_until_the_bill(ledger, now_ms):
    assert await give(ledger, Feedback(reward=0.75), now_ms) is APPLIED
    assert (await budget_of(ledger)).account.held_nusd == 10
    assert await give(ledger, Feedback(bill=Bill(4)), now_ms) is APPLIED
    outcome = await outcome_of(ledger)
    assert (outcome.reward, outcome.cost_nusd, outcome.billing) == (0.75, 4, Billing.BILLED)


async def test_bill_before_reward_joins_to_the_same_outcome(store, ledger, now_ms):
    await give(ledger, Feedback(bill=Bill(4)), now_ms)
    await give(ledger, Feedback(reward=0.75), now_ms)
    outcome = await outcome_of(ledger)
    assert (outcome.reward, outcome.cost_nusd) == (0.75, 4)
    assert (await events_of(store))[-1][1] == outcome


async def test_a_second_reward_is_a_duplicate_unless_it_corrects(ledger, now_ms):
    await give(ledger, Feedback(reward=0.2), now_ms)
    assert await give(ledger, Feedback(reward=0.9), now_ms) is DUPLICATE
    assert await give(ledger, Feedback(reward=0.9, correct=True), now_ms) is CORRECTED
    assert (await outcome_of(ledger)).reward == 0.9


async def test_a_retracted_reward_is_gone(store, ledger, now_ms):
    await give(ledger, Feedback(reward=0.2), now_ms)
    assert await give(ledger, Feedback(retract=True), now_ms) is CORRECTED
    assert (await outcome_of(ledger)).reward is None
    assert await give(ledger, Feedback(retract=True), now_ms) is DUPLICATE
    assert [after.reward for _, after in await events_of(store)] == [0.2, None]


async def test_a_cancelled_call_gives_its_hold_back(ledger, now_ms):
    await give(ledger, Feedback(kind=OutcomeKind.CANCELLED), now_ms)
    assert (await budget_of(ledger)).account == Account(100, decisions=1)


async def test_an_expired_decision_is_charged_at_its_hold(ledger, now_ms):
    assert await give(ledger, None, now_ms) is APPLIED
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=10, decisions=1)


async def test_an_expired_decision_may_be_released_instead(store, now_ms):
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, charges=False))
    await give(store.ledger, None, now_ms)
    assert (await budget_of(store.ledger)).account == Account(100, decisions=1)


@pytest.mark.parametrize("charges", [True, False])
async def test_a_late_bill_after_expiry_is_booked_exactly(store, now_ms, charges):
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, charges=charges))
    await give(store.ledger, None, now_ms)
    await give(store.ledger, Feedback(bill=Bill(4)), now_ms)
    let_go_nusd = 0 if charges else 4
    assert (await budget_of(store.ledger)).account == Account(100, 4, 0, let_go_nusd, decisions=1)


async def test_a_bill_that_grows_into_what_was_let_go_is_an_overrun(store, now_ms):
    await store.ledger.open_account(TENANT, 10, 1)
    await store.ledger.hold(hold_request(now_ms, hold_nusd=10))
    await give(store.ledger, Feedback(bill=Bill(2)), now_ms)
    assert isinstance(await store.ledger.hold(hold_request(now_ms, hold_nusd=8, decision_id="d2")), Held)
    await give(store.ledger, Feedback(bill=Bill(9), correct=True), now_ms)
    account = (await budget_of(store.ledger)).account
    assert account == Account(10, spent_nusd=9, held_nusd=8, overrun_nusd=7, in_flight_nusd=4, decisions=2)
    assert account.held_nusd + account.spent_nusd == account.limit_nusd + account.overrun_nusd


async def test_expiry_after_the_bill_does_nothing(ledger, now_ms):
    await give(ledger, Feedback(bill=Bill(4)), now_ms)
    assert await give(ledger, None, now_ms) is DUPLICATE


async def test_a_late_bill_lands_in_the_window_of_its_hold(store, now_ms):
    yesterday, today = day(now_ms, -1), day(now_ms)
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, window=yesterday))
    await store.ledger.hold(hold_request(now_ms, window=today, decision_id="d2"))
    await give(store.ledger, Feedback(bill=Bill(4)), now_ms, window=yesterday)
    assert (await budget_of(store.ledger, yesterday)).account.spent_nusd == 4
    assert (await budget_of(store.ledger, today)).account.spent_nusd == 0


async def test_metrics_and_latency_come_back_as_they_went_in(ledger, now_ms):
    await give(ledger, Feedback(latency_ms=120, metrics=(("a", 0.1), ("b", 2.0))), now_ms)
    outcome = await outcome_of(ledger)
    assert (outcome.latency_ms, outcome.metrics) == (120, (("a", 0.1), ("b", 2.0)))


async def test_every_commit_is_an_event_with_what_was_before_and_after(store, ledger, now_ms):
    await give(ledger, Feedback(reward=0.5), now_ms)
    await give(ledger, Feedback(bill=Bill(4)), now_ms)
    (before1, after1), (before2, after2) = await events_of(store)
    assert (before1.reward, after1.reward) == (None, 0.5)
    assert after1 == before2
    assert after2 == await outcome_of(ledger)


async def test_an_event_carries_the_decision_and_what_was_free_at_its_hold(store, ledger, now_ms):
    await ledger.hold(hold_request(now_ms, decision_id="d2"))
    await give(ledger, Feedback(reward=0.5), now_ms + 5, decision_id="d2")
    [event] = await store.events.read(POOL, {}, 10)
    assert (event.decision, event.free_nusd, event.recorded_ms) == (b"decision d2", 90, now_ms + 5)


async def test_bills_beyond_doubles_stay_exact(store, now_ms):
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, hold_nusd=1))
    huge_nusd = 2**60 + 1
    await give(store.ledger, Feedback(bill=Bill(huge_nusd)), now_ms)
    account = (await budget_of(store.ledger)).account
    assert (account.spent_nusd, account.overrun_nusd) == (huge_nusd, huge_nusd - 1)


async def test_a_bill_from_long_ago_still_finds_its_window(store, now_ms):
    start_ms = now_ms // DAY_MS * DAY_MS - 300 * DAY_MS
    long_ago = day(start_ms)
    await store.ledger.open_account(TENANT, 100, 1)
    await store.ledger.hold(hold_request(now_ms, window=long_ago))
    await store.ledger.hold(hold_request(now_ms, decision_id="d2", window=day(now_ms)))
    await give(store.ledger, Feedback(bill=Bill(4)), now_ms, window=long_ago)
    assert (await budget_of(store.ledger, long_ago)).account.spent_nusd == 4
    assert (await budget_of(store.ledger, FIXED)).account.spent_nusd == 0
