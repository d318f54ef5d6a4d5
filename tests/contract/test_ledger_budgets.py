"""Ledger: windows, carry-over, edits and their audit trail."""

from __future__ import annotations

import asyncio

import pytest
from ledger_builders import FIXED, TENANT, budget_of, day, edit_of, give, hold_request

from bandit_router.core.budget import Account, BudgetEditKind, LimitError
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Bill, Feedback
from bandit_router.ports.ledger import AccountMissing, DoesNotFit, Held

SET, GRANT, RESET = BudgetEditKind.SET_LIMIT, BudgetEditKind.GRANT, BudgetEditKind.RESET


@pytest.fixture
def now_ms(backend):
    return backend.clock.now_ms()


@pytest.fixture
async def ledger(store):
    await store.ledger.open_account(TENANT, 100)
    return store.ledger


async def spend(ledger, now_ms, *, window, bill_nusd, decision_id="d1", hold_nusd=30, carry_over=False):
    request = hold_request(now_ms, window=window, decision_id=decision_id, hold_nusd=hold_nusd, carry_over=carry_over)
    assert isinstance(await ledger.hold(request), Held)
    await give(ledger, Feedback(bill=Bill(bill_nusd)), now_ms, window=window, decision_id=decision_id)


async def test_an_unopened_window_is_shown_as_it_would_open(ledger, now_ms):
    state = await budget_of(ledger, day(now_ms))
    assert (state.window, state.account, state.price) == (day(now_ms), Account(100), None)


async def test_each_window_opens_with_the_base_limit(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -1), bill_nusd=20)
    assert (await budget_of(ledger, day(now_ms))).account == Account(100)


async def test_carry_over_adds_what_the_window_before_has_left(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -1), bill_nusd=20)
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account == Account(180)
    result = await ledger.hold(
        hold_request(now_ms, window=day(now_ms), hold_nusd=180, decision_id="d2", carry_over=True)
    )
    assert isinstance(result, Held)
    assert result.budget.account.limit_nusd == 180


async def test_carry_over_counts_held_money_as_gone(ledger, now_ms):
    await ledger.hold(hold_request(now_ms, window=day(now_ms, -1), hold_nusd=30))
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account.limit_nusd == 170


async def test_an_overrun_is_not_carried_over(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -1), bill_nusd=250)
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account.limit_nusd == 100


async def test_an_idle_window_carries_its_base_limit_over(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -2), bill_nusd=20)
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account.limit_nusd == 200


async def test_a_tenants_first_window_has_nothing_to_carry_over(ledger, now_ms):
    await ledger.hold(hold_request(now_ms, window=day(now_ms), carry_over=True))
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account.limit_nusd == 100


async def test_what_was_carried_over_stays_when_a_late_bill_comes(ledger, now_ms):
    yesterday, today = day(now_ms, -1), day(now_ms)
    await ledger.hold(hold_request(now_ms, window=yesterday, hold_nusd=30))
    await ledger.hold(hold_request(now_ms, window=today, decision_id="d2", carry_over=True))
    await give(ledger, Feedback(bill=Bill(0)), now_ms, window=yesterday)
    assert (await budget_of(ledger, today, carry_over=True)).account.limit_nusd == 170


async def test_carry_over_never_exceeds_the_largest_limit(store, now_ms):
    await store.ledger.open_account(TENANT, MAX_LIMIT_NUSD)
    await spend(store.ledger, now_ms, window=day(now_ms, -1), bill_nusd=0)
    state = await budget_of(store.ledger, day(now_ms), carry_over=True)
    assert state.account.limit_nusd == MAX_LIMIT_NUSD


async def test_a_new_limit_holds_at_once_and_for_later_windows(ledger, now_ms):
    state = await ledger.edit_budget(edit_of(SET, 500), day(now_ms), carry_over=False)
    assert state.account == Account(500)
    assert await ledger.base_limit(TENANT) == 500
    assert (await budget_of(ledger, day(now_ms, 1))).account.limit_nusd == 500


async def test_a_limit_below_what_is_spent_keeps_the_usage_and_refuses_holds(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=30)
    state = await ledger.edit_budget(edit_of(SET, 20), FIXED, carry_over=False)
    assert state.account == Account(20, spent_nusd=30, decisions=1)
    assert isinstance(await ledger.hold(hold_request(now_ms, hold_nusd=0, decision_id="d2")), DoesNotFit)


async def test_a_grant_raises_this_window_only(ledger, now_ms):
    state = await ledger.edit_budget(edit_of(GRANT, 50), day(now_ms), carry_over=False)
    assert state.account.limit_nusd == 150
    assert await ledger.base_limit(TENANT) == 100


async def test_a_reset_writes_spend_off_and_keeps_holds(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    await ledger.hold(hold_request(now_ms, decision_id="d2", hold_nusd=7))
    state = await ledger.edit_budget(edit_of(RESET), FIXED, carry_over=False)
    assert state.account == Account(100, held_nusd=7, in_flight_nusd=3, decisions=2)


async def test_concurrent_edits_and_holds_lose_no_usage(backend, ledger, now_ms):
    other = backend.another().ledger
    await asyncio.gather(
        *(ledger.hold(hold_request(now_ms, hold_nusd=1, decision_id=f"d{n}")) for n in range(50)),
        *(other.edit_budget(edit_of(GRANT, 1), FIXED, carry_over=False) for _ in range(50)),
    )
    account = (await budget_of(ledger)).account
    assert (account.limit_nusd, account.held_nusd, account.decisions) == (150, 50, 50)


@pytest.mark.parametrize("limit_nusd", [-1, MAX_LIMIT_NUSD + 1, 2**70])
async def test_a_limit_out_of_range_is_refused(ledger, limit_nusd):
    with pytest.raises(LimitError, match=str(MAX_LIMIT_NUSD)):
        await ledger.edit_budget(edit_of(SET, limit_nusd), FIXED, carry_over=False)
    assert (await budget_of(ledger)).account == Account(100)
    assert await ledger.base_limit(TENANT) == 100


@pytest.mark.parametrize("amount_nusd", [-101, MAX_LIMIT_NUSD - 99, MAX_LIMIT_NUSD, 2**70, -(2**70)])
async def test_a_grant_out_of_range_is_refused(ledger, amount_nusd):
    with pytest.raises(LimitError, match=str(MAX_LIMIT_NUSD)):
        await ledger.edit_budget(edit_of(GRANT, amount_nusd), FIXED, carry_over=False)
    assert list(await ledger.audit(TENANT, after_id="", limit=10)) == []


@pytest.mark.parametrize(
    ("limit_nusd", "amount_nusd"), [(0, MAX_LIMIT_NUSD + 1), (MAX_LIMIT_NUSD, -MAX_LIMIT_NUSD - 1)]
)
async def test_a_grant_one_nano_dollar_out_of_range_is_refused(store, limit_nusd, amount_nusd):
    await store.ledger.open_account(TENANT, limit_nusd)
    with pytest.raises(LimitError):
        await store.ledger.edit_budget(edit_of(GRANT, amount_nusd), FIXED, carry_over=False)


@pytest.mark.parametrize("amount_nusd", [-100, MAX_LIMIT_NUSD - 100])
async def test_a_grant_to_the_very_edge_is_made(ledger, amount_nusd):
    state = await ledger.edit_budget(edit_of(GRANT, amount_nusd), FIXED, carry_over=False)
    assert state.account.limit_nusd == 100 + amount_nusd


async def test_an_edit_without_an_account_is_an_error(store):
    with pytest.raises(AccountMissing):
        await store.ledger.edit_budget(edit_of(SET, 5), FIXED, carry_over=False)


async def test_edits_are_audited_with_the_account_before_and_after(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    edits = [edit_of(SET, 500, reason="mehr Geld: ünïcode"), edit_of(GRANT, 7), edit_of(RESET)]
    for edit in edits:
        await ledger.edit_budget(edit, FIXED, carry_over=False)
    trail = await ledger.audit(TENANT, after_id="", limit=10)
    assert [entry.edit for entry in trail] == edits
    spent = Account(100, spent_nusd=40, overrun_nusd=10, decisions=1)
    assert trail[0].before == spent
    assert [entry.after for entry in trail] == [
        spent.edit(SET, 500),
        spent.edit(SET, 507),
        Account(507, decisions=1),
    ]


async def test_the_audit_trail_is_paged_oldest_first(ledger):
    for amount_nusd in range(1, 13):
        await ledger.edit_budget(edit_of(GRANT, amount_nusd), FIXED, carry_over=False)
    seen, after_id = [], ""
    while page := await ledger.audit(TENANT, after_id=after_id, limit=5):
        seen += [entry.edit.amount_nusd for entry in page]
        after_id = page[-1].entry_id
    assert seen == list(range(1, 13))


async def test_a_closed_accounts_audit_trail_is_gone(ledger):
    await ledger.edit_budget(edit_of(SET, 5), FIXED, carry_over=False)
    await ledger.close_account(TENANT)
    assert list(await ledger.audit(TENANT, after_id="", limit=10)) == []


async def test_a_reopened_account_starts_afresh(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    await ledger.close_account(TENANT)
    await ledger.open_account(TENANT, 70)
    assert (await budget_of(ledger)).account == Account(70)
