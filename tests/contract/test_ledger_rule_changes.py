"""Ledger: a tenant's rule changes, and the present window goes on as one of the new rule with all that it has."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from ledger_builders import (
    DAY_MS,
    FIXED,
    HOUR_MS,
    TENANT,
    budget_of,
    day,
    edit_of,
    give,
    hold_request,
    level_of,
    month,
    session_of,
)

from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.outcomes import Bill, Feedback
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import DoesNotFit, Held

GRANT, RESET, WINDOW = BudgetEditKind.GRANT, BudgetEditKind.RESET, BudgetEditKind.WINDOW


@pytest.fixture
async def ledger(store):
    await store.ledger.open_account(TENANT, 100, 1)
    return store.ledger


async def hold(ledger, now_ms, window, hold_nusd=10, decision_id="d1", **options):
    return await ledger.hold(
        hold_request(now_ms, window=window, hold_nusd=hold_nusd, decision_id=decision_id, **options)
    )


async def bill(ledger, now_ms, cost_nusd, window, decision_id="d1", **names):
    feedback = Feedback(bill=Bill(cost_nusd), correct=True)
    await give(ledger, feedback, now_ms, window=window, decision_id=decision_id, **names)


def of_zone(now_ms: int) -> Window:
    """Today's window in a zone nine hours ahead."""
    return replace(day(now_ms + 9 * HOUR_MS), **bounds(day(now_ms + 9 * HOUR_MS).start_ms - 9 * HOUR_MS))


def bounds(start_ms: int) -> dict[str, int]:
    return {"start_ms": start_ms, "end_ms": start_ms + DAY_MS, "previous_start_ms": start_ms - DAY_MS}


@pytest.mark.parametrize("other", [month, of_zone, lambda _: FIXED])
async def test_limit_usage_holds_and_price_go_on_under_another_rule(ledger, now_ms, other):
    today, then = day(now_ms), other(now_ms)
    await ledger.edit_budget(edit_of(GRANT, 50), level_of(today))
    await hold(ledger, now_ms, today, 30)
    await bill(ledger, now_ms, 40, today)
    held = await hold(ledger, now_ms, today, 20, "d2")
    seen = await budget_of(ledger, then)
    assert seen == replace(held.budget, window=then)
    assert seen.account == Account(150, 40, 20, overrun_nusd=10, in_flight_nusd=10, decisions=2)
    assert await budget_of(ledger, today) == held.budget  # a look changes nothing
    assert isinstance(await hold(ledger, now_ms, then, 91, "d3"), DoesNotFit)
    told = await hold(ledger, now_ms, then, 90, "d4")
    assert told.budget.window == then
    assert told.budget.account == Account(150, 40, 110, overrun_nusd=10, in_flight_nusd=55, decisions=3)


async def test_a_change_back_counts_nothing_twice(backend, ledger, now_ms):
    rules = [day(now_ms), month(now_ms), FIXED, of_zone(now_ms), day(now_ms), month(now_ms), day(now_ms)]
    for number, window in enumerate(rules, 1):
        told = await hold(ledger, now_ms, window, 5, f"d{number}")
        assert told.budget.account == Account(100, held_nusd=5 * number, in_flight_nusd=2 * number, decisions=number)
    other = backend.another().ledger
    for window in rules:
        assert (await budget_of(other, window)).account == told.budget.account
    for number, window in enumerate(rules, 1):
        await bill(other, now_ms, 1, window, f"d{number}")
    assert (await budget_of(ledger, day(now_ms))).account == Account(100, spent_nusd=7, decisions=7)


async def test_bills_are_settled_once_where_the_hold_is_whatever_it_is_called(ledger, now_ms):
    today, then = day(now_ms), month(now_ms)
    await hold(ledger, now_ms, today, 30)
    await hold(ledger, now_ms, then, 20, "d2")
    record = await ledger.read(TENANT, "d1")
    assert record is not None
    await bill(ledger, now_ms, 35, today)
    await bill(ledger, now_ms, 35, today)
    await bill(ledger, now_ms, 5, then, "d2")
    await bill(ledger, now_ms, 8, then, "d2")
    assert (await budget_of(ledger, then)).account == Account(100, spent_nusd=43, overrun_nusd=8, decisions=2)


async def test_a_bill_is_told_with_the_window_as_it_is_called_now(ledger, now_ms):
    await hold(ledger, now_ms, day(now_ms), 30)
    await hold(ledger, now_ms, month(now_ms), 0, "d2")
    feedback = Feedback(bill=Bill(3))
    await give(ledger, feedback, now_ms, window=day(now_ms))
    told = await ledger.edit_budget(edit_of(GRANT, 1), level_of(month(now_ms)))
    assert told.window == month(now_ms)
    assert told.account == Account(101, spent_nusd=3, decisions=2)


async def test_the_window_after_the_new_end_is_fresh(ledger, now_ms):
    this = month(now_ms)
    await hold(ledger, now_ms, day(now_ms), 30)
    await hold(ledger, now_ms, this, 20, "d2")
    following = replace(
        this, start_ms=this.end_ms, end_ms=this.end_ms + 30 * DAY_MS, previous_start_ms=this.start_ms, ordinal=1
    )
    assert (await budget_of(ledger, following)).account == Account(100)
    assert (await budget_of(ledger, following, carry_over=True)).account == Account(150)
    told = await hold(ledger, following.start_ms, following, 150, "d3", carry_over=True)
    assert isinstance(told, Held)
    assert (await budget_of(ledger, this)).account.held_nusd == 50


async def test_what_ended_before_the_change_is_not_asked_for_again(ledger, now_ms):
    await hold(ledger, now_ms - DAY_MS, day(now_ms, -1), 100)
    await hold(ledger, now_ms, day(now_ms), 30, "d2")
    assert (await budget_of(ledger, month(now_ms))).account.free_nusd == 70
    assert (await budget_of(ledger, day(now_ms, -1))).account.free_nusd == 0


async def test_a_window_that_is_used_up_goes_on_by_refusals_too(ledger, now_ms):
    await hold(ledger, now_ms, month(now_ms), 100)
    assert isinstance(await hold(ledger, now_ms, day(now_ms), 1, "d2"), DoesNotFit)
    assert (await budget_of(ledger, day(now_ms, 1))).account == Account(100)


async def test_a_late_call_of_the_old_rule_is_charged_and_leaves_the_name(ledger, now_ms):
    yesterday, then = day(now_ms, -1), month(now_ms)
    await hold(ledger, now_ms, day(now_ms), 10)
    await hold(ledger, now_ms, then, 10, "d2")
    told = await hold(ledger, now_ms - DAY_MS, yesterday, 10, "d3", shadow=True)
    assert told.budget.window == yesterday
    assert told.budget.account.held_nusd == 30
    assert (await budget_of(ledger, day(now_ms, 1))).account.held_nusd == 30  # inside the month, which goes on
    await bill(ledger, now_ms, 4, yesterday, "d3")
    assert (await budget_of(ledger, then)).account == Account(100, 4, 20, in_flight_nusd=10, decisions=3)


async def test_a_name_that_two_windows_have_had_is_the_later_ones_and_each_keeps_its_bills(ledger, now_ms):
    this, today, tomorrow = month(now_ms), day(now_ms), day(now_ms, 1)
    await hold(ledger, now_ms, this, 30)
    await hold(ledger, now_ms, today, 20, "d2")
    later_ms = now_ms + DAY_MS
    assert (await hold(ledger, later_ms, tomorrow, 10, "d3")).budget.account.held_nusd == 10
    assert (await hold(ledger, later_ms, this, 5, "d4")).budget.account.held_nusd == 15
    await bill(ledger, later_ms, 1, this)
    await bill(ledger, later_ms, 2, this, "d4")
    assert (await budget_of(ledger, this)).account == Account(100, 2, 10, in_flight_nusd=5, decisions=2)
    assert (await budget_of(ledger, today)).account.spent_nusd == 2  # inside the month, which is present
    assert (await hold(ledger, later_ms + 1, day(now_ms, 40), 0, "d5")).budget.account == Account(100, decisions=1)
    assert (await budget_of(ledger, today)).account == Account(100, 1, 20, in_flight_nusd=10, decisions=2)
    assert (await budget_of(ledger, tomorrow)).account == Account(100, 2, 10, in_flight_nusd=5, decisions=2)


async def test_a_reset_writes_off_what_was_spent_under_either_rule(ledger, now_ms):
    today, then = day(now_ms), month(now_ms)
    await hold(ledger, now_ms, today, 30)
    await bill(ledger, now_ms, 30, today)
    await hold(ledger, now_ms, then, 20, "d2")
    await ledger.edit_budget(replace(edit_of(RESET), edited_ms=now_ms), level_of(then))
    await bill(ledger, now_ms, 10, today)
    assert (await budget_of(ledger, then)).account == Account(100, held_nusd=20, in_flight_nusd=10, decisions=2)
    await bill(ledger, now_ms, 45, today)
    await bill(ledger, now_ms, 20, then, "d2")
    assert (await budget_of(ledger, today)).account == Account(100, 35, overrun_nusd=15, decisions=2)


async def test_the_trail_says_when_a_window_went_on_under_another_rule(ledger, now_ms):
    await hold(ledger, now_ms, day(now_ms), 30)
    for number in range(2):
        await hold(ledger, now_ms + 1, month(now_ms), 1, f"m{number}")
    [entry] = await ledger.audit(TENANT, after_id="", limit=10)
    assert (entry.edit.kind, entry.edit.amount_nusd, entry.edit.edited_ms) == (WINDOW, 0, now_ms + 1)
    assert entry.edit.reason == f"{day(now_ms).name} goes on as {month(now_ms).name}"
    assert entry.before == entry.after == Account(100, held_nusd=30, in_flight_nusd=15, decisions=1)


async def test_shares_told_of_stay_told_of(ledger, now_ms):
    told = await hold(ledger, now_ms, day(now_ms), 60, alerts=(50, 90))
    assert [alert.percent for alert in told.alerts] == [50]
    told = await hold(ledger, now_ms, month(now_ms), 1, "d2", alerts=(50, 90))
    assert told.alerts == ()
    told = await hold(ledger, now_ms, month(now_ms), 30, "d3", alerts=(50, 90))
    assert [(alert.percent, alert.budget.window) for alert in told.alerts] == [(90, month(now_ms))]


async def test_an_organisations_window_goes_on_with_all_its_tenants(store, now_ms):
    ledger, today, then = store.ledger, day(now_ms), month(now_ms)
    for account_id in ("org", "org/a", "org/b"):
        await ledger.open_account(account_id, 100, 1)

    def above(window):
        return (level_of(window, account_id="org"), replace(session_of("s", 1000), account_id="org/a"))

    await hold(ledger, now_ms, today, 60, tenant_id="org/a", above=above(today))
    told = await hold(ledger, now_ms, today, 41, "d2", tenant_id="org/b", above=above(then)[:1])
    assert isinstance(told, DoesNotFit)
    assert told.short == 1
    told = await hold(ledger, now_ms, then, 40, "d3", tenant_id="org/a", above=above(then))
    assert [budget.account.held_nusd for budget in told.budgets] == [100, 100, 100]
    await bill(ledger, now_ms, 7, today, tenant_id="org/a", above=above(today))
    for level in (level_of(today, account_id="org"), level_of(then, account_id="org/a"), above(then)[1]):
        account = (await ledger.budget(level)).account
        assert (account.spent_nusd, account.held_nusd) == (7, 40)


async def test_an_account_made_again_goes_on_with_nothing(ledger, now_ms):
    await hold(ledger, now_ms, day(now_ms), 30)
    await hold(ledger, now_ms, month(now_ms), 30, "d2")
    await ledger.close_account(TENANT, 1)
    await ledger.open_account(TENANT, 70, 2)
    for window in (day(now_ms), month(now_ms), FIXED):
        assert (await budget_of(ledger, window)).account == Account(70)
    await bill(ledger, now_ms, 3, day(now_ms))
    await bill(ledger, now_ms, 3, month(now_ms), "d2")
    assert (await hold(ledger, now_ms, month(now_ms), 5, "d3")).budget.account.free_nusd == 65


async def test_replicas_that_know_of_the_change_and_not_admit_together_what_fits(backend, ledger, now_ms):
    other = backend.another().ledger
    await hold(ledger, now_ms, day(now_ms), 10, "d")
    answers = await asyncio.gather(
        *(hold(ledger, now_ms + n, day(now_ms), 3, f"a{n}") for n in range(40)),
        *(hold(other, now_ms + n, month(now_ms), 3, f"b{n}") for n in range(40)),
    )
    assert sum(isinstance(answer, Held) for answer in answers) == 30
    assert (await budget_of(other, FIXED)).account.held_nusd == 100
