"""Ledger: holds, their refusal, their idempotence, and the decision record."""

from __future__ import annotations

import asyncio

import pytest
from ledger_builders import DAY_MS, FIXED, HOUR_MS, PRICE, TENANT, budget_of, day, give, hold_request, level_of

from bandit_router.core.budget import Account, LimitError
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Bill, Feedback
from bandit_router.ports.ledger import RECENT_CONTEXTS, AccountMissing, AlreadyDecided, DoesNotFit, Held


@pytest.fixture
def ledger(store):
    return store.ledger


async def test_hold_sets_money_aside_and_tells_the_account_after_it(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    result = await ledger.hold(hold_request(now_ms, hold_nusd=30))
    assert isinstance(result, Held)
    assert result.budget.account == Account(100, held_nusd=30, in_flight_nusd=15, decisions=1)
    assert result.budget == await budget_of(ledger)


async def test_hold_stores_a_record_with_what_was_free_before_it(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, hold_nusd=30))
    request = hold_request(now_ms, decision_id="d2")
    result = await ledger.hold(request)
    record = await ledger.read(TENANT, "d2")
    assert record == result.record
    assert (record.decision, record.outcome) == (request.decision, request.outcome)
    assert (record.free_nusd, record.revision) == (70, 0)


async def test_hold_takes_exactly_what_is_free(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    assert isinstance(await ledger.hold(hold_request(now_ms, hold_nusd=100)), Held)


async def test_hold_refuses_more_than_is_free_and_changes_nothing(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, hold_nusd=60))
    before = await budget_of(ledger)
    result = await ledger.hold(hold_request(now_ms, hold_nusd=41, decision_id="d2"))
    assert result == DoesNotFit((before,), free_nusd=40)
    assert await budget_of(ledger) == before
    assert await ledger.read(TENANT, "d2") is None


async def test_a_refused_hold_opens_no_window(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    today = day(now_ms)
    await ledger.hold(hold_request(now_ms, window=day(now_ms, -1)))
    await ledger.hold(hold_request(now_ms, hold_nusd=500, decision_id="d2", window=today, carry_over=True))
    await give(ledger, Feedback(bill=Bill(0)), now_ms, window=day(now_ms, -1))
    assert (await budget_of(ledger, today, carry_over=True)).account.limit_nusd == 200


async def test_a_hold_of_nothing_fits_an_exhausted_budget(ledger, now_ms):
    await ledger.open_account(TENANT, 0, 1)
    assert isinstance(await ledger.hold(hold_request(now_ms, hold_nusd=0)), Held)


async def test_a_hold_of_nothing_does_not_fit_an_overrun_budget(ledger, now_ms):
    await ledger.open_account(TENANT, 10, 1)
    await ledger.hold(hold_request(now_ms, hold_nusd=10))
    await give(ledger, Feedback(bill=Bill(11)), now_ms)
    assert isinstance(await ledger.hold(hold_request(now_ms, hold_nusd=0, decision_id="d2")), DoesNotFit)


@pytest.mark.parametrize(("hold_nusd", "fits"), [(MAX_LIMIT_NUSD, True), (MAX_LIMIT_NUSD + 1, False)])
async def test_the_largest_limit_is_exact_to_the_last_nano_dollar(ledger, now_ms, hold_nusd, fits):
    await ledger.open_account(TENANT, MAX_LIMIT_NUSD, 1)
    result = await ledger.hold(hold_request(now_ms, hold_nusd=hold_nusd))
    assert isinstance(result, Held if fits else DoesNotFit)


async def test_a_shadow_hold_counts_and_never_refuses(ledger, now_ms):
    await ledger.open_account(TENANT, 10, 1)
    result = await ledger.hold(hold_request(now_ms, hold_nusd=25, shadow=True))
    assert isinstance(result, Held)
    assert result.budget.account.free_nusd == -15


async def test_shadow_counters_beyond_the_largest_limit_stay_exact(ledger, now_ms):
    await ledger.open_account(TENANT, 10, 1)
    huge_nusd = 2**53 + 1
    for number in range(3):
        result = await ledger.hold(hold_request(now_ms, hold_nusd=huge_nusd, decision_id=f"d{number}", shadow=True))
    assert result.budget.account.held_nusd == 3 * huge_nusd
    assert (await budget_of(ledger)).account.held_nusd == 3 * huge_nusd


async def test_a_thousand_concurrent_holds_on_a_budget_for_a_hundred_admit_a_hundred(backend, now_ms):
    replicas = [backend.store.ledger, backend.another().ledger]
    await replicas[0].open_account(TENANT, 1000, 1)
    results = await asyncio.gather(
        *(replicas[n % 2].hold(hold_request(now_ms, hold_nusd=10, decision_id=f"d{n}")) for n in range(1000))
    )
    assert sum(isinstance(result, Held) for result in results) == 100
    assert (await budget_of(replicas[0])).account == Account(1000, held_nusd=1000, in_flight_nusd=500, decisions=100)


async def test_a_request_id_holds_once(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    first = await ledger.hold(hold_request(now_ms, request_id="r1"))
    again = await ledger.hold(hold_request(now_ms, request_id="r1", decision_id="d2"))
    assert again == AlreadyDecided(first.record, first.budgets)
    assert await ledger.read(TENANT, "d2") is None


async def test_concurrent_retries_of_a_request_hold_once(backend, now_ms):
    replicas = [backend.store.ledger, backend.another().ledger]
    await replicas[0].open_account(TENANT, 1000, 1)
    results = await asyncio.gather(
        *(replicas[n % 2].hold(hold_request(now_ms, request_id="r 1:x", decision_id=f"d{n}")) for n in range(50))
    )
    assert sum(isinstance(result, Held) for result in results) == 1
    assert len({result.record.decision for result in results}) == 1
    assert (await budget_of(replicas[0])).account.decisions == 1


async def test_a_decision_id_holds_once(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    first = await ledger.hold(hold_request(now_ms))
    again = await ledger.hold(hold_request(now_ms))
    assert again == AlreadyDecided(first.record, first.budgets)


async def test_a_retried_request_is_answered_even_when_nothing_is_free(ledger, now_ms):
    await ledger.open_account(TENANT, 10, 1)
    await ledger.hold(hold_request(now_ms, request_id="r1"))
    assert isinstance(await ledger.hold(hold_request(now_ms, request_id="r1", decision_id="d2")), AlreadyDecided)


async def test_a_retried_request_sees_the_outcome_as_it_is_now(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, request_id="r1"))
    await give(ledger, Feedback(bill=Bill(3)), now_ms)
    again = await ledger.hold(hold_request(now_ms, request_id="r1", decision_id="d2"))
    assert again.record == await ledger.read(TENANT, "d1")
    assert again.record.revision == 1


async def test_requests_without_an_id_are_all_different(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms))
    assert isinstance(await ledger.hold(hold_request(now_ms, decision_id="d2")), Held)


async def test_tenants_share_neither_requests_nor_decisions(ledger, now_ms):
    for tenant_id in ("acme", "globex"):
        await ledger.open_account(tenant_id, 100, 1)
        assert isinstance(await ledger.hold(hold_request(now_ms, tenant_id=tenant_id, request_id="r1")), Held)
    await ledger.open_account("initech", 100, 1)
    assert await ledger.read("initech", "d1") is None


async def test_a_hold_without_an_account_is_an_error(ledger, now_ms):
    with pytest.raises(AccountMissing):
        await ledger.hold(hold_request(now_ms))


async def test_the_price_mark_of_the_latest_hold_is_kept(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    assert (await budget_of(ledger)).price is None
    await ledger.hold(hold_request(now_ms))
    assert (await budget_of(ledger)).price == PRICE


async def test_recent_contexts_are_bounded_and_newest_first(ledger, now_ms):
    await ledger.open_account(TENANT, 10_000, 1)
    count = RECENT_CONTEXTS + 100
    for n in range(count):
        await ledger.hold(hold_request(now_ms, decision_id=f"d{n}", context=b"\x00\xff%d" % n))
    contexts = await ledger.recent_contexts(TENANT)
    assert list(contexts) == [b"\x00\xff%d" % n for n in range(count - 1, 99, -1)]


async def test_an_unknown_tenant_has_no_recent_contexts(ledger):
    assert list(await ledger.recent_contexts("nobody")) == []


async def test_due_lists_holds_past_their_deadline_earliest_first(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    for n, ttl_ms in enumerate((3000, 1000, 2000, HOUR_MS)):
        await ledger.hold(hold_request(now_ms, decision_id=f"d{n}", ttl_ms=ttl_ms))
    due = await ledger.due(now_ms + 5000, 10)
    assert [(d.tenant_id, d.decision_id, d.deadline_ms - now_ms) for d in due] == [
        (TENANT, "d1", 1000),
        (TENANT, "d2", 2000),
        (TENANT, "d0", 3000),
    ]
    assert list(await ledger.due(now_ms + 5000, 2)) == list(due)[:2]
    assert list(await ledger.due(now_ms + 5000, 10)) == list(due)


async def test_a_settled_decision_is_no_longer_due(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, ttl_ms=1000))
    await give(ledger, Feedback(bill=Bill(3)), now_ms)
    assert list(await ledger.due(now_ms + DAY_MS, 10)) == []


async def test_a_decision_with_a_reward_but_no_bill_is_still_due(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, ttl_ms=1000))
    await give(ledger, Feedback(reward=0.5), now_ms)
    assert [d.decision_id for d in await ledger.due(now_ms + 1000, 10)] == ["d1"]


async def test_a_settled_record_is_forgotten_after_its_time(backend, ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, ttl_ms=50, keep_ms=50, request_id="r1"))
    await give(ledger, Feedback(bill=Bill(3)), now_ms)

    async def forgotten() -> bool:
        return await ledger.read(TENANT, "d1") is None

    await backend.until(forgotten)
    assert isinstance(await ledger.hold(hold_request(now_ms, request_id="r1", decision_id="d2")), Held)


async def test_a_record_whose_hold_stands_is_never_forgotten(backend, ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms, ttl_ms=1, keep_ms=1))

    async def later() -> bool:
        return backend.clock.now_ms() > now_ms + 100

    await backend.until(later)
    await give(ledger, None, backend.clock.now_ms())
    assert (await budget_of(ledger)).account.held_nusd == 0


async def test_an_account_refuses_a_limit_out_of_range(ledger):
    for limit_nusd in (-1, MAX_LIMIT_NUSD + 1):
        with pytest.raises(LimitError):
            await ledger.open_account(TENANT, limit_nusd, 1)


async def test_opening_an_account_twice_keeps_the_first_limit(ledger):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.open_account(TENANT, 200, 1)
    assert await ledger.base_limit(TENANT) == 100


async def test_a_closed_account_is_missing(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms))
    await ledger.close_account(TENANT, 1)
    with pytest.raises(AccountMissing):
        await ledger.base_limit(TENANT)
    with pytest.raises(AccountMissing):
        await ledger.budget(level_of(FIXED))
    assert list(await ledger.recent_contexts(TENANT)) == []


async def test_closing_an_unknown_account_does_nothing(ledger):
    await ledger.close_account("nobody", 1)


async def test_a_bill_for_a_closed_and_reopened_account_moves_no_money(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    await ledger.hold(hold_request(now_ms))
    await ledger.close_account(TENANT, 1)
    await ledger.open_account(TENANT, 50, 2)
    await ledger.hold(hold_request(now_ms, decision_id="d2"))
    before = await budget_of(ledger)
    await give(ledger, Feedback(bill=Bill(3)), now_ms)
    assert await budget_of(ledger) == before
    assert (await ledger.read(TENANT, "d1")).revision == 1


async def test_a_request_id_finds_its_decision_and_no_other(ledger, now_ms):
    await ledger.open_account(TENANT, 100, 1)
    held = await ledger.hold(hold_request(now_ms, hold_nusd=10, request_id="r1"))
    assert await ledger.find(TENANT, "r1") == held.record
    assert await ledger.find(TENANT, "r2") is None
    assert await ledger.find("another", "r1") is None
