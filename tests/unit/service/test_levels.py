"""Nested budgets end to end in memory: organisation, tenant and session; alerts; tenants that come and go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bandit_router.core.budget import BudgetEditKind
from bandit_router.core.errors import BudgetExhausted, InvalidRequest, ResourceInUse, ResourceNotFound
from bandit_router.core.outcomes import FeedbackStatus
from bandit_router.core.resources import Tenant, WindowKind, WindowRule
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.levels import levels_of, own_level
from bandit_router.service.messages import Session, Usage
from tests.builders import SMALL, make_tenant
from tests.unit.service.test_cut_short import Flaky
from tests.unit.service.test_route import SMALL_HOLD
from tests.unit.service.worlds import World, open_world, with_parts

ORGANISATION = make_tenant("acme", limit_nusd=10 * SMALL_HOLD)
TEAM = make_tenant("acme/team", limit_nusd=8 * SMALL_HOLD, parent_tenant_id="acme")
RIVAL = make_tenant("acme/rival", limit_nusd=8 * SMALL_HOLD, parent_tenant_id="acme")


async def nested(*tenants: Tenant) -> World:
    return await open_world(arms=[SMALL], tenants=tenants or (ORGANISATION, TEAM, RIVAL))


def test_a_tenant_without_parent_and_session_has_its_own_level_alone() -> None:
    tenant = make_tenant(session_cap_nusd=5, alert_percents=(50,))
    assert levels_of(tenant, None, session_id="", now_ms=0) == (own_level(tenant, 0),)
    assert own_level(tenant, 0).alert_percents == (50,)


def test_every_account_has_the_window_of_its_own_rule() -> None:
    day, hour = (WindowRule(kind) for kind in (WindowKind.DAY, WindowKind.HOUR))
    tenant, parent = replace(TEAM, window=hour, session_cap_nusd=7), replace(ORGANISATION, window=day)
    levels = levels_of(tenant, parent, session_id="s", now_ms=90 * 60_000)
    assert [level.charge.window for level in levels] == ["hour:3600000", "day:0", "session:s"]
    assert [level.account_id for level in levels] == ["acme/team", "acme", "acme/team"]


async def test_an_organisation_refuses_what_its_tenants_could_pay() -> None:
    world = await nested()
    for tenant_id, calls in (("acme/team", 7), ("acme/rival", 3)):
        for _ in range(calls):
            await world.route(tenant_id=tenant_id)
    with pytest.raises(BudgetExhausted) as refusal:
        await world.route(tenant_id="acme/rival")
    assert (refusal.value.tenant_id, refusal.value.free_nusd) == ("acme", 0)
    with pytest.raises(BudgetExhausted):
        await world.route(tenant_id="acme/rival", dry_run=True)
    assert (await world.budget("acme/rival")).account.decisions == 3


async def test_bills_of_tenants_are_spend_of_their_organisation() -> None:
    world = await nested()
    first, second = await world.route(tenant_id="acme/team"), await world.route(tenant_id="acme/rival")
    await world.feedback(first.decision.decision_id, "acme/team", usage=Usage(cost_nusd=7))
    await world.feedback(second.decision.decision_id, "acme/rival", usage=Usage(cost_nusd=5))
    reply = await world.feedback(first.decision.decision_id, "acme/team", usage=Usage(cost_nusd=6), correct=True)
    assert reply.status is FeedbackStatus.CORRECTED
    accounts = [(await world.budget(tenant_id)).account for tenant_id in ("acme/team", "acme/rival", "acme")]
    assert [(account.spent_nusd, account.held_nusd) for account in accounts] == [(6, 0), (5, 0), (11, 0)]


async def test_expired_holds_are_charged_to_the_organisation_as_well() -> None:
    world = await nested()
    await world.route(tenant_id="acme/team")
    world.clock.jump(TEAM.hold_ttl_s + 1)
    assert await world.services.sweeper.sweep() == 1
    assert [(await world.budget(t)).account.spent_nusd for t in ("acme/team", "acme")] == [SMALL_HOLD] * 2


async def test_a_session_is_refused_at_its_cap_and_says_so() -> None:
    world = await nested(make_tenant(session_cap_nusd=2 * SMALL_HOLD))
    for _ in range(2):
        await world.route(session=Session("chat"))
    with pytest.raises(BudgetExhausted, match="session 'chat' of tenant 'acme'") as refusal:
        await world.route(session=Session("chat"))
    assert (refusal.value.session_id, refusal.value.retry_after_s) == ("chat", None)
    await world.route(session=Session("another"))
    await world.route()


async def test_a_session_has_its_unused_money_back_once_it_is_billed() -> None:
    world = await nested(make_tenant(session_cap_nusd=SMALL_HOLD + 5))
    reply = await world.route(session=Session("chat"))
    await world.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=5))
    await world.route(session=Session("chat"))
    with pytest.raises(BudgetExhausted):
        await world.route(session=Session("chat"))


async def test_a_rehearsal_tells_of_the_tightest_level_and_leaves_no_trace() -> None:
    world = await nested(make_tenant(session_cap_nusd=2 * SMALL_HOLD))
    await world.route(session=Session("chat"))
    before = world.contents()
    await world.route(session=Session("chat"), dry_run=True)
    assert world.contents() == before


async def test_alerts_are_logged_counted_and_audited_once() -> None:
    world = await nested(make_tenant(limit_nusd=10 * SMALL_HOLD, alert_percents=(50, 90)))
    for _ in range(10):
        await world.route()
    with pytest.raises(BudgetExhausted):
        await world.route()
    assert world.observer.counts["budget_alerts"] == 2
    told = [facts["percent"] for event, facts in world.observer.notes if event == "budget_alert"]
    trail = await world.services.budgets.audit("acme", after_id="", page_size=10)
    assert told == [entry.edit.amount_nusd for entry in trail] == [50, 90]
    assert {entry.edit.kind for entry in trail} == {BudgetEditKind.ALERT}


async def test_a_parent_must_exist_and_cannot_go_before_its_tenants() -> None:
    world = await nested()
    admin = world.services.admin
    with pytest.raises(ResourceNotFound):
        await admin.create_tenant(make_tenant("globex/team", parent_tenant_id="globex"), dry_run=False)
    with pytest.raises(ResourceInUse, match="acme/rival"):
        await admin.delete_tenant("acme", etag="", dry_run=False)
    for tenant_id in ("acme/team", "acme/rival", "acme"):
        await admin.delete_tenant(tenant_id, etag="", dry_run=False)
    with pytest.raises(ResourceNotFound):
        await world.budget("acme")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_deletion_cut_short_can_be_repeated(when: str) -> None:
    world = await open_world()
    ledger = Flaky(world.store.ledger)
    other = await world.replica(seed=2, store=with_parts(world.store, ledger=ledger))
    ledger.broken = {"close_account": when}
    with pytest.raises(StoreUnavailable):
        await other.services.admin.delete_tenant("acme", etag="", dry_run=False)
    ledger.broken = {}
    if when == "before":
        await other.services.admin.delete_tenant("acme", etag="", dry_run=False)
    with pytest.raises(ResourceNotFound):
        await other.services.admin.delete_tenant("acme", etag="", dry_run=False)


async def test_a_grant_that_is_repeated_with_its_key_is_made_once() -> None:
    world = await open_world()
    limit_nusd = (await world.budget()).account.limit_nusd
    for _ in range(2):
        state = await world.services.budgets.grant("acme", 5, reason="", actor="me", edit_id="g1")
    assert state.account.limit_nusd == limit_nusd + 5
    with pytest.raises(InvalidRequest, match="another edit"):
        await world.services.budgets.grant("acme", 6, reason="", actor="me", edit_id="g1")


async def test_a_pool_made_again_learns_nothing_from_its_predecessors_decisions() -> None:
    world = await open_world(arms=[SMALL])
    admin = world.services.admin
    pool, tenant = (await admin.get_pool("pool")).resource, (await admin.get_tenant("acme")).resource
    reply = await world.route()
    await admin.delete_tenant("acme", etag="", dry_run=False)
    await admin.delete_pool("pool", etag="", dry_run=False)
    await admin.create_pool(replace(pool, generation=0), dry_run=False)
    await admin.put_arm("pool", SMALL, etag="", dry_run=False)
    await admin.create_tenant(replace(tenant, generation=0), dry_run=False)
    await world.settle(reply, reward=1.0)
    await world.settle(await world.route(), reward=0.0)
    assert await world.services.learner.step("pool") == 2
    assert world.observer.counts["events_not_learnable"] == 1
    assert (await world.services.models.served("pool")).model.version == 1
