"""Ledger: windows, carry-over, edits and their audit trail."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from ledger_builders import FIXED, TENANT, budget_of, day, edit_of, give, hold_request, level_of

from bandit_router.core.budget import Account, BudgetEditKind, LimitError
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Bill, Feedback
from bandit_router.core.resources import WindowKind
from bandit_router.ports.ledger import AccountMissing, DoesNotFit, EditIdTaken, Held

SET, GRANT, RESET = BudgetEditKind.SET_LIMIT, BudgetEditKind.GRANT, BudgetEditKind.RESET


@pytest.fixture
async def ledger(store):
    await store.ledger.open_account(TENANT, 100, 1)
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


@pytest.mark.parametrize("idle", [1, 2, 30, 365])
async def test_idle_windows_carry_all_over_that_they_would_have_had(ledger, now_ms, idle):
    await spend(ledger, now_ms, window=day(now_ms, -1 - idle), bill_nusd=20)
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account.limit_nusd == 80 + 100 * idle + 100
    assert (await budget_of(ledger, day(now_ms))).account.limit_nusd == 100


async def test_it_makes_no_difference_whether_windows_between_were_idle_or_free_of_charge(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -3), bill_nusd=20, carry_over=True)
    await spend(ledger, now_ms, window=day(now_ms, -2), bill_nusd=0, decision_id="d2", carry_over=True)
    assert (await budget_of(ledger, day(now_ms), carry_over=True)).account.limit_nusd == 380


async def test_a_hold_after_several_idle_windows_finds_what_they_left(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -3), bill_nusd=20)
    request = hold_request(now_ms, window=day(now_ms), hold_nusd=380, decision_id="d2", carry_over=True)
    assert isinstance(await ledger.hold(request), Held)
    request = hold_request(now_ms, window=day(now_ms, 1), hold_nusd=101, decision_id="d3", carry_over=True)
    assert isinstance(await ledger.hold(request), DoesNotFit)


async def test_nothing_is_carried_over_from_windows_of_another_kind(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms, -1), bill_nusd=20)
    month = replace(day(now_ms), kind=WindowKind.MONTH)
    assert (await budget_of(ledger, month, carry_over=True)).account.limit_nusd == 100


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
    await store.ledger.open_account(TENANT, MAX_LIMIT_NUSD, 1)
    await spend(store.ledger, now_ms, window=day(now_ms, -1), bill_nusd=0)
    state = await budget_of(store.ledger, day(now_ms), carry_over=True)
    assert state.account.limit_nusd == MAX_LIMIT_NUSD


async def test_a_new_limit_holds_at_once_and_for_later_windows(ledger, now_ms):
    state = await ledger.edit_budget(edit_of(SET, 500), level_of(day(now_ms)))
    assert state.account == Account(500)
    assert await ledger.base_limit(TENANT) == 500
    assert (await budget_of(ledger, day(now_ms, 1))).account.limit_nusd == 500


async def test_a_limit_below_what_is_spent_keeps_the_usage_and_refuses_holds(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=30)
    state = await ledger.edit_budget(edit_of(SET, 20), level_of(FIXED))
    assert state.account == Account(20, spent_nusd=30, decisions=1)
    assert isinstance(await ledger.hold(hold_request(now_ms, hold_nusd=0, decision_id="d2")), DoesNotFit)


async def test_a_grant_raises_this_window_only(ledger, now_ms):
    state = await ledger.edit_budget(edit_of(GRANT, 50), level_of(day(now_ms)))
    assert state.account.limit_nusd == 150
    assert await ledger.base_limit(TENANT) == 100


async def test_a_reset_writes_spend_off_and_keeps_holds(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    await ledger.hold(hold_request(now_ms, decision_id="d2", hold_nusd=7))
    state = await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    assert state.account == Account(100, held_nusd=7, in_flight_nusd=3, decisions=2)


@pytest.mark.parametrize("later_nusd", [0, 10, 40, 41, 90])
async def test_a_correction_after_a_reset_books_only_what_the_reset_has_not_written_off(ledger, now_ms, later_nusd):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40, hold_nusd=50)
    await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    await give(ledger, Feedback(bill=Bill(later_nusd), correct=True), now_ms)
    left_nusd = max(0, later_nusd - 40)
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=left_nusd, overrun_nusd=left_nusd, decisions=1)


async def test_after_a_reset_the_last_correction_counts_whatever_came_between(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40, hold_nusd=50)
    await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    for cost_nusd in (90, 3, 60):
        await give(ledger, Feedback(bill=Bill(cost_nusd), correct=True), now_ms)
    assert (await budget_of(ledger)).account.spent_nusd == 20
    await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    await give(ledger, Feedback(bill=Bill(65), correct=True), now_ms)
    assert (await budget_of(ledger)).account.spent_nusd == 5
    await give(ledger, Feedback(bill=Bill(1), correct=True), now_ms)
    assert (await budget_of(ledger)).account.spent_nusd == 0


async def test_a_reward_after_a_reset_moves_no_money(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40, hold_nusd=50)
    await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    await give(ledger, Feedback(reward=1.0), now_ms)
    await give(ledger, Feedback(bill=Bill(45), correct=True), now_ms)
    assert (await budget_of(ledger)).account.spent_nusd == 5


async def test_a_hold_that_stands_over_a_reset_is_billed_in_full(ledger, now_ms):
    await ledger.hold(hold_request(now_ms, hold_nusd=30))
    await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    await give(ledger, Feedback(bill=Bill(20)), now_ms)
    assert (await budget_of(ledger)).account == Account(100, spent_nusd=20, decisions=1)


async def test_a_late_bill_of_an_expired_charge_that_was_reset_brings_nothing_back(ledger, now_ms):
    await ledger.hold(hold_request(now_ms, hold_nusd=30))
    await give(ledger, None, now_ms)
    await ledger.edit_budget(edit_of(RESET), level_of(FIXED))
    await give(ledger, Feedback(bill=Bill(20)), now_ms)
    assert (await budget_of(ledger)).account == Account(100, decisions=1)


async def test_a_reset_of_one_window_writes_nothing_off_in_another(ledger, now_ms):
    await spend(ledger, now_ms, window=day(now_ms), bill_nusd=40, hold_nusd=50)
    await ledger.edit_budget(edit_of(RESET), level_of(day(now_ms, 1)))
    await give(ledger, Feedback(bill=Bill(10), correct=True), now_ms, window=day(now_ms))
    assert (await budget_of(ledger, day(now_ms))).account.spent_nusd == 10


async def test_an_edit_with_an_id_is_made_once(backend, ledger):
    grant = edit_of(GRANT, 50, edit_id="grant 1: ünïcode")
    states = [await store.ledger.edit_budget(grant, level_of()) for store in (backend.store, backend.another())]
    assert [state.account.limit_nusd for state in states] == [150, 150]
    assert len(await ledger.audit(TENANT, after_id="", limit=10)) == 1


async def test_repeated_resets_and_limits_are_harmless_too(ledger, now_ms):
    await ledger.edit_budget(edit_of(SET, 70, edit_id="a"), level_of())
    await ledger.edit_budget(edit_of(RESET, edit_id="b"), level_of())
    await ledger.edit_budget(edit_of(SET, 80), level_of())
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    await ledger.edit_budget(edit_of(SET, 70, edit_id="a"), level_of())
    await ledger.edit_budget(edit_of(RESET, edit_id="b"), level_of())
    account = (await budget_of(ledger)).account
    assert (account.limit_nusd, account.spent_nusd) == (80, 40)


@pytest.mark.parametrize("other", [edit_of(GRANT, 51, edit_id="a"), edit_of(RESET, 50, edit_id="a")])
async def test_an_edits_id_cannot_be_that_of_another_edit(ledger, other):
    await ledger.edit_budget(edit_of(GRANT, 50, edit_id="a"), level_of())
    with pytest.raises(EditIdTaken):
        await ledger.edit_budget(other, level_of())
    assert (await budget_of(ledger)).account.limit_nusd == 150


async def test_an_account_made_again_knows_no_earlier_edits(ledger):
    await ledger.edit_budget(edit_of(GRANT, 50, edit_id="a"), level_of())
    await ledger.close_account(TENANT, 1)
    await ledger.open_account(TENANT, 100, 2)
    assert (await ledger.edit_budget(edit_of(GRANT, 7, edit_id="a"), level_of())).account.limit_nusd == 107


async def test_concurrent_edits_and_holds_lose_no_usage(backend, ledger, now_ms):
    other = backend.another().ledger
    await asyncio.gather(
        *(ledger.hold(hold_request(now_ms, hold_nusd=1, decision_id=f"d{n}")) for n in range(50)),
        *(other.edit_budget(edit_of(GRANT, 1), level_of(FIXED)) for _ in range(50)),
    )
    account = (await budget_of(ledger)).account
    assert (account.limit_nusd, account.held_nusd, account.decisions) == (150, 50, 50)


@pytest.mark.parametrize("limit_nusd", [-1, MAX_LIMIT_NUSD + 1, 2**70])
async def test_a_limit_out_of_range_is_refused(ledger, limit_nusd):
    with pytest.raises(LimitError, match=str(MAX_LIMIT_NUSD)):
        await ledger.edit_budget(edit_of(SET, limit_nusd), level_of(FIXED))
    assert (await budget_of(ledger)).account == Account(100)
    assert await ledger.base_limit(TENANT) == 100


@pytest.mark.parametrize("amount_nusd", [-101, MAX_LIMIT_NUSD - 99, MAX_LIMIT_NUSD, 2**70, -(2**70)])
async def test_a_grant_out_of_range_is_refused(ledger, amount_nusd):
    with pytest.raises(LimitError, match=str(MAX_LIMIT_NUSD)):
        await ledger.edit_budget(edit_of(GRANT, amount_nusd), level_of(FIXED))
    assert list(await ledger.audit(TENANT, after_id="", limit=10)) == []


@pytest.mark.parametrize(
    ("limit_nusd", "amount_nusd"), [(0, MAX_LIMIT_NUSD + 1), (MAX_LIMIT_NUSD, -MAX_LIMIT_NUSD - 1)]
)
async def test_a_grant_one_nano_dollar_out_of_range_is_refused(store, limit_nusd, amount_nusd):
    await store.ledger.open_account(TENANT, limit_nusd, 1)
    with pytest.raises(LimitError):
        await store.ledger.edit_budget(edit_of(GRANT, amount_nusd), level_of(FIXED))


@pytest.mark.parametrize("amount_nusd", [-100, MAX_LIMIT_NUSD - 100])
async def test_a_grant_to_the_very_edge_is_made(ledger, amount_nusd):
    state = await ledger.edit_budget(edit_of(GRANT, amount_nusd), level_of(FIXED))
    assert state.account.limit_nusd == 100 + amount_nusd


async def test_an_edit_without_an_account_is_an_error(store):
    with pytest.raises(AccountMissing):
        await store.ledger.edit_budget(edit_of(SET, 5), level_of(FIXED))


async def test_edits_are_audited_with_the_account_before_and_after(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    edits = [edit_of(SET, 500, reason="mehr Geld: ünïcode"), edit_of(GRANT, 7), edit_of(RESET)]
    for edit in edits:
        await ledger.edit_budget(edit, level_of(FIXED))
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
        await ledger.edit_budget(edit_of(GRANT, amount_nusd), level_of(FIXED))
    seen, after_id = [], ""
    while page := await ledger.audit(TENANT, after_id=after_id, limit=5):
        seen += [entry.edit.amount_nusd for entry in page]
        after_id = page[-1].entry_id
    assert seen == list(range(1, 13))


async def test_a_closed_accounts_audit_trail_is_gone(ledger):
    await ledger.edit_budget(edit_of(SET, 5), level_of(FIXED))
    await ledger.close_account(TENANT, 1)
    assert list(await ledger.audit(TENANT, after_id="", limit=10)) == []


async def test_a_reopened_account_starts_afresh(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    await ledger.close_account(TENANT, 1)
    await ledger.open_account(TENANT, 70, 2)
    assert (await budget_of(ledger)).account == Account(70)


async def test_a_late_close_does_not_hit_an_account_made_again(ledger, now_ms):
    await ledger.close_account(TENANT, 1)
    await ledger.open_account(TENANT, 70, 2)
    await spend(ledger, now_ms, window=FIXED, bill_nusd=5, hold_nusd=5)
    await ledger.close_account(TENANT, 1)
    assert (await budget_of(ledger)).account == Account(70, spent_nusd=5, decisions=1)


async def test_a_late_opening_does_not_change_a_later_account(ledger):
    await ledger.open_account(TENANT, 70, 3)
    await ledger.open_account(TENANT, 500, 2)
    assert (await ledger.base_limit(TENANT), await ledger.generation(TENANT)) == (70, 3)


async def test_an_account_left_by_a_deletion_is_no_part_of_the_next_one(ledger, now_ms):
    await spend(ledger, now_ms, window=FIXED, bill_nusd=40)
    await ledger.open_account(TENANT, 70, 2)
    assert (await budget_of(ledger)).account == Account(70)
    await give(ledger, Feedback(bill=Bill(1), correct=True), now_ms)
    assert (await budget_of(ledger)).account == Account(70)
