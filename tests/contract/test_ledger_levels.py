"""Ledger: holds on several accounts in one step (tenant, organisation, session), and alerts before refusals."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from ledger_builders import FIXED, TENANT, budget_of, day, edit_of, give, hold_request, level_of, session_of

from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.outcomes import Bill, Feedback, OutcomeKind
from bandit_router.ports.ledger import AccountMissing, AlreadyDecided, DoesNotFit, Held

ORGANISATION = "acme"
TEAM = "acme/team"
RIVAL = "acme/rival"


@pytest.fixture
async def ledger(store):
    await store.ledger.open_account(ORGANISATION, 100, 1)
    await store.ledger.open_account(TEAM, 80, 2)
    await store.ledger.open_account(RIVAL, 80, 3)
    return store.ledger


def ask(now_ms, hold_nusd, decision_id="d1", *, tenant_id=TEAM, **options):
    above = options.pop("above", (level_of(account_id=ORGANISATION),))
    return hold_request(
        now_ms, hold_nusd=hold_nusd, decision_id=decision_id, tenant_id=tenant_id, above=above, **options
    )


async def accounts(ledger):
    return [(await ledger.budget(level_of(account_id=a))).account for a in (TEAM, RIVAL, ORGANISATION)]


async def test_a_hold_is_set_aside_on_every_level(ledger, now_ms):
    result = await ledger.hold(ask(now_ms, 30))
    held = Account(80, held_nusd=30, in_flight_nusd=15, decisions=1)
    assert [budget.account for budget in result.budgets] == [held, replace(held, limit_nusd=100)]
    assert result.record.free_nusd == 80


async def test_a_hold_that_the_organisation_cannot_pay_changes_nothing(ledger, now_ms):
    assert isinstance(await ledger.hold(ask(now_ms, 70, "d1", tenant_id=RIVAL)), Held)
    before = await accounts(ledger)
    refused = await ledger.hold(ask(now_ms, 31, "d2"))
    assert isinstance(refused, DoesNotFit)
    assert (refused.free_nusd, refused.short) == (30, 1)
    assert await accounts(ledger) == before
    assert await ledger.read(TEAM, "d2") is None
    assert isinstance(await ledger.hold(ask(now_ms, 30, "d2")), Held)


async def test_the_tenants_own_limit_refuses_what_the_organisation_could_pay(ledger, now_ms):
    refused = await ledger.hold(ask(now_ms, 81))
    assert (refused.free_nusd, refused.short) == (80, 0)


@pytest.mark.parametrize(
    ("reports", "spent_nusd", "overrun_nusd"),
    [
        ([Feedback(bill=Bill(12))], 12, 0),
        ([Feedback(bill=Bill(50))], 50, 20),
        ([Feedback(kind=OutcomeKind.CANCELLED)], 0, 0),
        ([None], 30, 0),
        ([None, Feedback(bill=Bill(12))], 12, 0),
        ([Feedback(bill=Bill(12)), Feedback(bill=Bill(20), correct=True)], 20, 8),
    ],
)
async def test_settlement_expiry_and_correction_move_all_levels_alike(
    ledger, now_ms, reports, spent_nusd, overrun_nusd
):
    above = (level_of(account_id=ORGANISATION), replace(session_of("s 1", 60), account_id=TEAM))
    await ledger.hold(ask(now_ms, 30, above=above))
    for report in reports:
        await give(ledger, report, now_ms, tenant_id=TEAM, above=above)
    for level in (level_of(account_id=TEAM), *above):
        account = (await ledger.budget(level)).account
        assert (account.held_nusd, account.spent_nusd, account.overrun_nusd) == (0, spent_nusd, overrun_nusd)


async def test_a_reset_of_one_level_leaves_the_other(ledger, now_ms):
    above = (level_of(account_id=ORGANISATION),)
    await ledger.hold(ask(now_ms, 30))
    await give(ledger, Feedback(bill=Bill(20)), now_ms, tenant_id=TEAM, above=above)
    await ledger.edit_budget(edit_of(BudgetEditKind.RESET, tenant_id=TEAM), level_of(account_id=TEAM))
    await give(ledger, Feedback(bill=Bill(25), correct=True), now_ms, tenant_id=TEAM, above=above)
    team, _, organisation = await accounts(ledger)
    assert (team.spent_nusd, organisation.spent_nusd) == (5, 25)


async def test_when_the_organisations_account_is_made_again_only_the_tenants_own_is_moved(ledger, now_ms):
    above = (level_of(account_id=ORGANISATION),)
    await ledger.hold(ask(now_ms, 30))
    await ledger.open_account(ORGANISATION, 60, 9)
    await give(ledger, Feedback(bill=Bill(20)), now_ms, tenant_id=TEAM, above=above)
    team, _, organisation = await accounts(ledger)
    assert (team.spent_nusd, team.held_nusd, organisation) == (20, 0, Account(60))


async def test_a_level_without_an_account_is_an_error_that_names_it(ledger, now_ms):
    await ledger.close_account(ORGANISATION, 1)
    with pytest.raises(AccountMissing, match=r"^acme$"):
        await ledger.hold(ask(now_ms, 30))
    assert (await ledger.budget(level_of(account_id=TEAM))).account == Account(80)


async def test_a_trial_budget_does_not_refuse_but_its_organisation_does(ledger, now_ms):
    assert isinstance(await ledger.hold(ask(now_ms, 90, shadow=True)), Held)
    refused = await ledger.hold(ask(now_ms, 11, "d2", shadow=True))
    assert (refused.free_nusd, refused.short) == (10, 1)


async def test_levels_may_be_in_windows_of_their_own(ledger, now_ms):
    above = (level_of(day(now_ms), account_id=ORGANISATION),)
    await ledger.hold(ask(now_ms, 30, above=above))
    assert (await ledger.budget(level_of(account_id=TEAM))).account.held_nusd == 30
    assert (await ledger.budget(level_of(day(now_ms, 1), account_id=ORGANISATION))).account == Account(100)
    assert (await ledger.budget(above[0])).account.held_nusd == 30


async def test_both_levels_look_back_over_idle_windows(ledger, now_ms):
    earlier = (level_of(day(now_ms, -4), account_id=ORGANISATION, carry_over=True),)
    await ledger.hold(ask(now_ms, 30, window=day(now_ms, -3), carry_over=True, above=earlier))
    above = (level_of(day(now_ms), account_id=ORGANISATION, carry_over=True),)
    result = await ledger.hold(ask(now_ms, 30, "d2", window=day(now_ms), carry_over=True, above=above))
    assert [budget.account.limit_nusd for budget in result.budgets] == [50 + 3 * 80, 70 + 4 * 100]


async def test_many_tenants_at_once_never_hold_more_than_their_organisation_has(backend, ledger, now_ms):
    replicas = [ledger, backend.another().ledger]
    results = await asyncio.gather(
        *(replicas[n % 2].hold(ask(now_ms, 1, f"d{n}", tenant_id=(TEAM, RIVAL)[n % 3 > 0])) for n in range(300))
    )
    assert sum(isinstance(result, Held) for result in results) == 100
    team, rival, organisation = await accounts(ledger)
    assert organisation.held_nusd == team.held_nusd + rival.held_nusd == 100


async def test_a_session_cannot_pass_its_cap_while_others_go_on(ledger, now_ms):
    def level(name):
        return (replace(session_of(name, 20), account_id=TEAM),)

    assert isinstance(await ledger.hold(ask(now_ms, 15, "d1", above=level("one: s"))), Held)
    refused = await ledger.hold(ask(now_ms, 6, "d2", above=level("one: s")))
    assert (refused.free_nusd, refused.short) == (5, 1)
    assert isinstance(await ledger.hold(ask(now_ms, 20, "d2", above=level("two"))), Held)
    assert (await ledger.budget(level_of(account_id=TEAM))).account.held_nusd == 35


async def test_a_new_cap_holds_for_a_session_under_way(ledger, now_ms):
    session = replace(session_of("s", 20), account_id=TEAM)
    await ledger.hold(ask(now_ms, 15, above=(session,)))
    assert isinstance(await ledger.hold(ask(now_ms, 25, "d2", above=(replace(session, cap_nusd=40),))), Held)
    assert (await ledger.hold(ask(now_ms, 1, "d3", above=(replace(session, cap_nusd=30),)))).free_nusd == -10


async def test_a_session_is_forgotten_with_the_records_of_its_decisions(backend, ledger, now_ms):
    session = replace(session_of("s", 20), account_id=TEAM)
    await ledger.hold(ask(now_ms, 15, above=(session,), ttl_ms=300, keep_ms=300))

    async def is_forgotten():
        return (await ledger.budget(session)).account == Account(20)

    assert (await ledger.budget(session)).account.held_nusd == 15
    await backend.until(is_forgotten)
    await give(ledger, Feedback(bill=Bill(5)), now_ms, tenant_id=TEAM, above=(session,))
    assert (await ledger.budget(session)).account == Account(20)
    assert (await ledger.budget(level_of(account_id=TEAM))).account.spent_nusd == 5


async def test_a_late_bill_of_a_forgotten_session_is_none_of_the_next_session_of_that_id(backend, ledger, now_ms):
    session = replace(session_of("s", 20), account_id=TEAM)
    await ledger.hold(ask(now_ms, 15, above=(session,), ttl_ms=300, keep_ms=300))

    async def is_forgotten():
        return (await ledger.budget(session)).account == Account(20)

    await backend.until(is_forgotten)
    await ledger.hold(ask(backend.clock.now_ms(), 9, "d2", above=(session,)))
    await give(ledger, Feedback(bill=Bill(5)), now_ms, tenant_id=TEAM, above=(session,))
    assert (await ledger.budget(session)).account == Account(20, held_nusd=9, in_flight_nusd=4, decisions=1)
    assert (await ledger.budget(level_of(account_id=TEAM))).account.spent_nusd == 5


async def test_sessions_of_an_account_made_again_begin_anew(ledger, now_ms):
    session = replace(session_of("s", 20), account_id=TEAM)
    await ledger.hold(ask(now_ms, 15, above=(session,)))
    await ledger.open_account(TEAM, 80, 9)
    assert (await ledger.budget(session)).account == Account(20)
    assert isinstance(await ledger.hold(ask(now_ms, 20, "d2", above=(session,))), Held)


async def test_a_repeated_request_is_told_all_budgets_and_moves_none(ledger, now_ms):
    first = await ledger.hold(ask(now_ms, 30, request_id="r"))
    again = await ledger.hold(ask(now_ms, 30, "d2", request_id="r"))
    assert isinstance(again, AlreadyDecided)
    assert [b.account for b in again.budgets] == [b.account for b in first.budgets]


def alerted(result):
    return [(alert.account_id, alert.percent) for alert in result.alerts]


async def test_shares_of_the_limit_are_told_once_and_before_any_refusal(ledger, now_ms):
    percents = (50, 80, 95)
    told = []
    for number in range(12):
        result = await ledger.hold(hold_request(now_ms, hold_nusd=10, decision_id=f"d{number}", alerts=percents))
        told.append((type(result), [percent for _, percent in alerted(result)]))
    nothing, something = (Held, []), {4: [50], 7: [80], 9: [95]}
    assert told[:10] == [(Held, something[n]) if n in something else nothing for n in range(10)]
    assert told[10:] == [(DoesNotFit, [])] * 2
    trail = await ledger.audit(TENANT, after_id="", limit=10)
    assert [(e.edit.kind, e.edit.amount_nusd, e.edit.edited_ms) for e in trail] == [
        (BudgetEditKind.ALERT, percent, now_ms) for percent in percents
    ]
    assert trail[0].before == trail[0].after == Account(100, held_nusd=50, in_flight_nusd=25, decisions=5)


async def test_of_several_shares_reached_at_once_the_largest_is_told(ledger, now_ms):
    assert alerted(await ledger.hold(hold_request(now_ms, hold_nusd=90, alerts=(50, 80, 95)))) == [(TENANT, 80)]


async def test_a_share_is_reached_to_the_nano_dollar(store, now_ms):
    limit_nusd = 2**53 - 1
    await store.ledger.open_account(TENANT, limit_nusd, 1)
    share_nusd = -(-limit_nusd * 95 // 100)
    requests = [hold_request(now_ms, hold_nusd=n, decision_id=f"d{n}", alerts=(95,)) for n in (share_nusd - 1, 1)]
    assert [alerted(await store.ledger.hold(request)) for request in requests] == [[], [(TENANT, 95)]]


async def test_a_share_that_a_bill_has_passed_is_told_with_the_refusal_at_the_latest(ledger, now_ms):
    await ledger.hold(hold_request(now_ms, hold_nusd=10, alerts=(50,)))
    await give(ledger, Feedback(bill=Bill(120)), now_ms)
    for expected in ([(TENANT, 50)], []):
        result = await ledger.hold(hold_request(now_ms, hold_nusd=10, decision_id="d2", alerts=(50,)))
        assert isinstance(result, DoesNotFit)
        assert alerted(result) == expected


async def test_every_window_has_its_own_alerts(ledger, now_ms):
    for offset in (0, 1):
        request = hold_request(now_ms, hold_nusd=50, decision_id=f"d{offset}", alerts=(50,), window=day(now_ms, offset))
        assert alerted(await ledger.hold(request)) == [(TENANT, 50)]


async def test_an_edit_makes_ready_again_what_is_no_longer_reached(ledger, now_ms):
    percents = (50, 80)
    await ledger.hold(hold_request(now_ms, hold_nusd=80, alerts=percents))
    await ledger.edit_budget(edit_of(BudgetEditKind.SET_LIMIT, 150), level_of(FIXED, alert_percents=percents))
    results = [
        await ledger.hold(hold_request(now_ms, hold_nusd=n, decision_id=f"d{n}", alerts=percents)) for n in (30, 10)
    ]
    assert [alerted(result) for result in results] == [[], [(TENANT, 80)]]


async def test_the_organisation_is_alerted_by_what_its_tenants_hold(ledger, now_ms):
    above = (level_of(account_id=ORGANISATION, alert_percents=(50,)),)
    assert alerted(await ledger.hold(ask(now_ms, 30, "d1", above=above, alerts=(50,)))) == []
    assert alerted(await ledger.hold(ask(now_ms, 20, "d2", above=above, alerts=(50,)))) == [(TEAM, 50), ("acme", 50)]
    assert [e.edit.tenant_id for e in await ledger.audit(ORGANISATION, after_id="", limit=9)] == [ORGANISATION]


async def test_concurrent_holds_alert_once(backend, ledger, now_ms):
    replicas = [ledger, backend.another().ledger]
    results = await asyncio.gather(
        *(
            replicas[n % 2].hold(hold_request(now_ms, hold_nusd=1, decision_id=f"d{n}", alerts=(50, 80)))
            for n in range(150)
        )
    )
    assert sorted(percent for result in results for _, percent in alerted(result)) == [50, 80]
    assert (await budget_of(ledger)).account.held_nusd == 100
