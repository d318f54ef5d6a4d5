from __future__ import annotations

from dataclasses import replace

import pytest

from bandit_router.core.budget import BudgetEditKind
from bandit_router.core.errors import BudgetExhausted, InvalidRequest, ResourceNotFound
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.core.windows import window_at
from bandit_router.service import budgets
from tests.builders import SMALL, make_tenant
from tests.unit.service.worlds import World, open_world

NOTED = {"reason": "because", "actor": "me"}

LATEST = 10**6  # no account in these worlds is of a later generation


async def test_an_idle_tenant_has_its_whole_limit() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=500)])
    account = (await world.budget()).account
    assert (account.limit_nusd, account.free_nusd, account.decisions) == (500, 500, 0)


async def test_a_raised_limit_admits_calls_at_once_on_every_replica() -> None:
    world = await open_world(arms=[SMALL], tenants=[make_tenant(limit_nusd=1)])
    other = await world.replica(seed=2)
    with pytest.raises(BudgetExhausted):
        await other.route()
    await world.services.budgets.set_limit("acme", 10**9, **NOTED)
    assert (await other.route()).budget.account.limit_nusd == 10**9


async def test_a_limit_may_be_lowered_below_what_is_gone_and_loses_no_usage() -> None:
    world = await open_world()
    reply = await world.route()
    await world.settle(reply)
    spent_nusd = (await world.budget()).account.spent_nusd
    budget = await world.services.budgets.set_limit("acme", 1, **NOTED)
    assert (budget.account.spent_nusd, budget.account.free_nusd) == (spent_nusd, 1 - spent_nusd)
    with pytest.raises(BudgetExhausted):
        await world.route()


async def test_a_grant_lifts_this_window_only() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=500, window=WindowRule(WindowKind.HOUR))])
    budget = await world.services.budgets.grant("acme", 70, **NOTED)
    assert budget.account.limit_nusd == 570
    world.clock.jump(3600)
    assert (await world.budget()).account.limit_nusd == 500


async def test_a_new_limit_holds_for_the_windows_to_come() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=500, window=WindowRule(WindowKind.HOUR))])
    await world.services.budgets.set_limit("acme", 70, **NOTED)
    world.clock.jump(3600)
    assert (await world.budget()).account.limit_nusd == 70


async def test_a_window_that_carries_over_opens_with_what_was_left() -> None:
    rule = WindowRule(WindowKind.HOUR, carry_over=True)
    world = await open_world(arms=[SMALL], tenants=[make_tenant(limit_nusd=10**6, window=rule)])
    reply = await world.route()
    left_nusd = (await world.settle(reply)).budget.account.free_nusd
    world.clock.jump(3600)
    assert (await world.budget()).account.limit_nusd == 10**6 + left_nusd
    assert (await world.route()).budget.account.limit_nusd == 10**6 + left_nusd


@pytest.mark.parametrize("rule", [WindowRule(WindowKind.MONTH), WindowRule(WindowKind.DAY, "Asia/Tokyo"), WindowRule()])
async def test_a_change_of_the_rule_loses_no_usage(rule: WindowRule) -> None:
    tenant = make_tenant(limit_nusd=10**6, window=WindowRule(WindowKind.DAY))
    world = await open_world(arms=[SMALL], tenants=[tenant])
    await world.settle(await world.route())
    held = await world.route()
    before = (await world.budget()).account
    assert before.spent_nusd > 0 < before.held_nusd
    await world.services.admin.update_tenant(replace(tenant, window=rule), etag="", dry_run=False)
    budget = await world.budget()
    assert (budget.account, budget.window) == (before, window_at(rule, world.clock.now_ms()))
    assert (await world.route()).budget.account.decisions == 3
    await world.settle(held)
    account = (await world.budget()).account
    assert account.spent_nusd == 2 * before.spent_nusd
    assert account.held_nusd == before.held_nusd
    trail = await world.services.budgets.audit("acme", after_id="", page_size=10)
    assert [entry.edit.kind for entry in trail] == [BudgetEditKind.WINDOW]


async def test_a_reset_writes_off_spend_and_keeps_holds() -> None:
    world = await open_world()
    await world.settle(await world.route())
    held_nusd = (await world.route()).decision.hold_nusd
    account = (await world.services.budgets.reset("acme", **NOTED)).account
    assert (account.spent_nusd, account.held_nusd) == (0, held_nusd)


async def test_every_edit_is_audited_with_the_account_before_and_after() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=500)])
    service = world.services.budgets
    await service.set_limit("acme", 600, **NOTED)
    await service.grant("acme", 50, **NOTED)
    await service.reset("acme", **NOTED)
    trail = await service.audit("acme", after_id="", page_size=10)
    kinds = [entry.edit.kind for entry in trail]
    assert kinds == [BudgetEditKind.SET_LIMIT, BudgetEditKind.GRANT, BudgetEditKind.RESET]
    assert [(e.before.limit_nusd, e.after.limit_nusd) for e in trail] == [(500, 600), (600, 650), (650, 650)]
    assert {(e.edit.reason, e.edit.actor, e.edit.edited_ms) for e in trail} == {("because", "me", world.clock.now_ms())}


async def test_the_audit_trail_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MAX_AUDIT_PAGE", 2)
    world = await open_world()
    service = world.services.budgets
    for amount_nusd in (1, 2, 3):
        await service.grant("acme", amount_nusd, **NOTED)
    first = await service.audit("acme", after_id="", page_size=100)
    rest = await service.audit("acme", after_id=first[-1].entry_id, page_size=100)
    assert [e.edit.amount_nusd for e in (*first, *rest)] == [1, 2, 3]
    assert len(first) == 2


async def dry_edits(world: World) -> list[int]:
    service = world.services.budgets
    edits = [
        service.set_limit("acme", 70, **NOTED, dry_run=True),
        service.grant("acme", 70, **NOTED, dry_run=True),
        service.reset("acme", **NOTED, dry_run=True),
    ]
    return [(await edit).account.limit_nusd for edit in edits]


async def test_a_dry_run_tells_the_budget_after_the_edit_and_changes_nothing() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=500)])
    before = world.contents()
    assert await dry_edits(world) == [70, 570, 500]
    assert world.contents() == before


@pytest.mark.parametrize("limit_nusd", [-1, MAX_LIMIT_NUSD + 1])
@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_limit_out_of_range_is_refused_and_nothing_changed(limit_nusd: int, *, dry_run: bool) -> None:
    world = await open_world()
    before = world.contents()
    with pytest.raises(InvalidRequest, match="limit_nusd"):
        await world.services.budgets.set_limit("acme", limit_nusd, **NOTED, dry_run=dry_run)
    assert world.contents() == before


@pytest.mark.parametrize("amount_nusd", [0, -1, MAX_LIMIT_NUSD])
async def test_a_grant_of_nothing_or_too_much_is_refused(amount_nusd: int) -> None:
    world = await open_world()
    with pytest.raises(InvalidRequest, match="amount_nusd"):
        await world.services.budgets.grant("acme", amount_nusd, **NOTED)


async def test_the_budget_of_an_unknown_tenant_is_not_found() -> None:
    world = await open_world()
    service = world.services.budgets
    for missing in (
        service.get("nobody"),
        service.set_limit("nobody", 1, **NOTED),
        service.audit("nobody", after_id="", page_size=1),
    ):
        with pytest.raises(ResourceNotFound):
            await missing
    await world.store.ledger.close_account("acme", LATEST)
    for closed in (service.get("acme"), service.reset("acme", **NOTED)):
        with pytest.raises(ResourceNotFound):
            await closed
