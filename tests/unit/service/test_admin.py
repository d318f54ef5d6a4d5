from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.budget import Account
from bandit_router.core.errors import AlreadyExists, Conflict, InvalidRequest, ResourceInUse, ResourceNotFound
from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.service import admin
from bandit_router.service.admin import MAX_ARMS
from tests.builders import FREE, LARGE, MEDIUM, SMALL, make_arm, make_pool, make_tenant
from tests.unit.service.worlds import World, open_world

LATEST = 10**6  # no account in these worlds is of a later generation


async def empty_world() -> World:
    world = await open_world(arms=[])
    await world.services.admin.delete_tenant("acme", etag="", dry_run=False)
    await world.services.admin.delete_pool("pool", etag="", dry_run=False)
    return world


async def test_resources_are_found_as_they_were_created() -> None:
    world = await empty_world()
    service = world.services.admin
    pool = await service.create_pool(make_pool(), dry_run=False)
    arm = await service.put_arm("pool", SMALL, etag="", dry_run=False)
    tenant = await service.create_tenant(make_tenant(), dry_run=False)
    assert await service.get_pool("pool") == pool
    assert await service.get_tenant("acme") == tenant
    assert (await service.list_arms("pool", page_size=10, page_token="")).items == (arm,)
    assert pool.resource == make_pool(generation=int(pool.etag))
    assert tenant.resource == make_tenant(generation=int(tenant.etag))


async def test_a_dry_run_checks_everything_and_changes_nothing() -> None:
    world = await open_world()
    service = world.services.admin
    before = world.contents()
    pool = make_pool(exploration="igw:tau=9")
    dry_runs = [
        service.create_pool(make_pool("new"), dry_run=True),
        service.update_pool(pool, etag="", dry_run=True),
        service.put_arm("pool", make_arm("new"), etag="", dry_run=True),
        service.remove_arm("pool", "small", etag="", dry_run=True),
        service.create_tenant(make_tenant("new"), dry_run=True),
        service.update_tenant(make_tenant(expected_calls=5), etag="", dry_run=True),
        service.delete_tenant("acme", etag="", dry_run=True),
        service.freeze_learning("pool", frozen=True, dry_run=True),
    ]
    etags = [getattr(await dry_run, "etag", "") for dry_run in dry_runs]
    assert set(etags) == {""}
    assert world.contents() == before
    await service.delete_tenant("acme", etag="", dry_run=False)
    before = world.contents()
    await service.delete_pool("pool", etag="", dry_run=True)
    assert world.contents() == before


async def test_a_dry_run_meets_the_same_refusals() -> None:
    service = (await open_world()).services.admin
    with pytest.raises(AlreadyExists):
        await service.create_pool(make_pool(), dry_run=True)
    with pytest.raises(AlreadyExists):
        await service.create_tenant(make_tenant(), dry_run=True)
    with pytest.raises(Conflict):
        await service.update_pool(make_pool(), etag="12345", dry_run=True)
    with pytest.raises(Conflict):
        await service.delete_tenant("acme", etag="12345", dry_run=True)
    with pytest.raises(ResourceNotFound):
        await service.remove_arm("pool", "unknown", etag="", dry_run=True)


async def test_nothing_is_created_twice() -> None:
    service = (await open_world()).services.admin
    with pytest.raises(AlreadyExists) as refusal:
        await service.create_pool(make_pool(), dry_run=False)
    assert refusal.value.reason == "POOL_ALREADY_EXISTS"
    with pytest.raises(AlreadyExists):
        await service.create_tenant(make_tenant(limit_nusd=5), dry_run=False)
    assert (await service.get_tenant("acme")).resource.limit_nusd == make_tenant().limit_nusd


async def test_an_update_with_a_stale_etag_conflicts() -> None:
    service = (await open_world()).services.admin
    first = await service.get_pool("pool")
    second = await service.update_pool(make_pool(exploration="igw:tau=9"), etag=first.etag, dry_run=False)
    assert second.etag != first.etag
    with pytest.raises(Conflict):
        await service.update_pool(make_pool(), etag=first.etag, dry_run=False)
    assert await service.get_pool("pool") == second
    await service.update_pool(make_pool(), etag="", dry_run=False)


async def test_arms_and_tenants_have_etags_too() -> None:
    service = (await open_world()).services.admin
    arm = (await service.list_arms("pool", page_size=1, page_token="")).items[0]
    await service.put_arm("pool", replace(arm.resource, tier="a"), etag=arm.etag, dry_run=False)
    for stale in (
        service.put_arm("pool", arm.resource, etag=arm.etag, dry_run=False),
        service.remove_arm("pool", arm.resource.arm_id, etag=arm.etag, dry_run=False),
        service.update_tenant(make_tenant(), etag="1", dry_run=False),
        service.delete_tenant("acme", etag="1", dry_run=False),
    ):
        with pytest.raises(Conflict):
            await stale


@pytest.mark.parametrize("etag", ["abc", "-1", "1.5", " 1"])
async def test_an_etag_that_nobody_gave_out_is_invalid(etag: str) -> None:
    service = (await open_world()).services.admin
    with pytest.raises(InvalidRequest, match="etag"):
        await service.update_pool(make_pool(), etag=etag, dry_run=False)


@pytest.mark.parametrize(
    "change", [{"encoder_id": "vectors"}, {"dimension": 3}, {"features": ("length",)}], ids=lambda c: next(iter(c))
)
async def test_what_a_pools_state_was_learned_in_cannot_change(change: dict[str, Any]) -> None:
    service = (await open_world()).services.admin
    with pytest.raises(InvalidRequest, match="cannot change"):
        await service.update_pool(make_pool(**change), etag="", dry_run=False)


async def test_an_update_does_not_thaw_a_frozen_pool() -> None:
    service = (await open_world()).services.admin
    assert (await service.freeze_learning("pool", frozen=True)).resource.learning_frozen
    assert (await service.update_pool(make_pool(), etag="", dry_run=False)).resource.learning_frozen
    assert not (await service.freeze_learning("pool", frozen=False)).resource.learning_frozen


async def test_a_pool_in_use_cannot_be_deleted_wherever_its_tenant_was_made() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    await other.services.admin.create_pool(make_pool("second"), dry_run=False)
    await world.services.admin.create_tenant(make_tenant("new", pool_id="second"), dry_run=False)
    with pytest.raises(ResourceInUse, match="'new'"):
        await other.services.admin.delete_pool("second", etag="", dry_run=False)
    await world.services.admin.delete_tenant("new", etag="", dry_run=False)
    await other.services.admin.delete_pool("second", etag="", dry_run=False)


async def test_a_deleted_pool_leaves_nothing_behind() -> None:
    world = await open_world()
    service = world.services.admin
    await world.settle(await world.route(), reward=0.5)
    await world.services.learner.step("pool")
    await world.services.projections.fit_on_texts("pool", [f"text {i}" for i in range(20)])
    await service.delete_tenant("acme", etag="", dry_run=False)
    await service.delete_pool("pool", etag="", dry_run=False)
    with pytest.raises(ResourceNotFound):
        await service.get_pool("pool")
    with pytest.raises(ResourceNotFound):
        await service.list_arms("pool", page_size=10, page_token="")
    await service.create_pool(make_pool(), dry_run=False)
    assert (await service.list_arms("pool", page_size=10, page_token="")).items == ()
    assert await world.store.snapshots.load("pool") is None
    assert await world.store.events.last("pool") == {}
    assert world.services.directory.projection("pool") is None


@pytest.mark.parametrize("encoder_id", ["unknown", "hash"])
async def test_a_pools_encoder_must_exist_and_have_its_dimensions(encoder_id: str) -> None:
    service = (await empty_world()).services.admin
    field = "pool.encoder_id" if encoder_id == "unknown" else "pool.dimension"
    with pytest.raises(InvalidRequest) as refusal:
        await service.create_pool(make_pool(encoder_id=encoder_id, dimension=5), dry_run=False)
    assert [v.field for v in refusal.value.violations] == [field]


async def test_an_arm_needs_its_pool() -> None:
    service = (await open_world()).services.admin
    with pytest.raises(ResourceNotFound) as refusal:
        await service.put_arm("nowhere", SMALL, etag="", dry_run=False)
    assert (refusal.value.reason, refusal.value.resource_id) == ("POOL_NOT_FOUND", "nowhere")
    with pytest.raises(ResourceNotFound) as refusal:
        await service.remove_arm("pool", "unknown", etag="", dry_run=False)
    assert (refusal.value.reason, refusal.value.resource_id) == ("ARM_NOT_FOUND", "unknown")


async def test_a_pool_has_a_limited_number_of_arms() -> None:
    service = (await open_world(arms=[make_arm(f"arm{i}") for i in range(MAX_ARMS)])).services.admin
    await service.put_arm("pool", make_arm("arm0", max_output_tokens=5), etag="", dry_run=False)
    with pytest.raises(InvalidRequest, match="at most"):
        await service.put_arm("pool", make_arm("one-more"), etag="", dry_run=False)


async def test_what_an_arm_has_learned_is_kept_for_its_return() -> None:
    world = await open_world(arms=[SMALL])
    for index in range(20):
        await world.settle(await world.route(f"query {index}"), reward=0.1)
    await world.services.learner.step("pool")
    learned = (await world.route(dry_run=True)).decision.quote.expected_reward
    await world.services.admin.remove_arm("pool", "small", etag="", dry_run=False)
    await world.services.admin.put_arm("pool", SMALL, etag="", dry_run=False)
    assert (await world.route(dry_run=True)).decision.quote.expected_reward == learned < 0.5


async def test_a_tenant_needs_its_pool_and_a_free_fallback_of_it() -> None:
    service = (await open_world(arms=[SMALL, make_arm("zero", prices=FREE)])).services.admin
    with pytest.raises(ResourceNotFound):
        await service.create_tenant(make_tenant("new", pool_id="nowhere"), dry_run=False)
    for fallback in ("small", "unknown"):
        with pytest.raises(InvalidRequest, match="fallback"):
            await service.create_tenant(make_tenant("new", fallback_arm_id=fallback), dry_run=False)
    await service.create_tenant(make_tenant("new", fallback_arm_id="zero"), dry_run=False)


async def test_a_tenant_that_was_refused_has_no_account() -> None:
    world = await open_world()
    with pytest.raises(InvalidRequest):
        await world.services.admin.create_tenant(make_tenant("new", expected_calls=-1), dry_run=False)
    assert "new" not in world.store.ledger._tenants


async def test_a_tenants_limit_is_changed_by_budget_edits_only() -> None:
    world = await open_world()
    service = world.services.admin
    with pytest.raises(InvalidRequest, match="SetBudgetLimit"):
        await service.update_tenant(make_tenant(limit_nusd=5), etag="", dry_run=False)
    await world.services.budgets.set_limit("acme", 5, reason="", actor="")
    assert (await service.get_tenant("acme")).resource.limit_nusd == 5
    assert (await service.list_tenants(page_size=1, page_token="")).items[0].resource.limit_nusd == 5
    await service.update_tenant(make_tenant(limit_nusd=5, expected_calls=7), etag="", dry_run=False)
    assert (await service.get_tenant("acme")).resource.expected_calls == 7


async def test_a_changed_tenant_is_served_with_its_new_settings() -> None:
    world = await open_world()
    await world.route()
    changed = make_tenant(window=WindowRule(WindowKind.DAY), hold_ttl_s=5)
    await world.services.admin.update_tenant(changed, etag="", dry_run=False)
    reply = await world.route()
    assert reply.decision.deadline_ms == world.clock.now_ms() + 5000
    assert reply.budget.window.end_ms is not None


async def test_a_tenant_deleted_and_made_again_starts_with_a_clean_account() -> None:
    world = await open_world()
    old = await world.route()
    await world.settle(old)
    service = world.services.admin
    await service.delete_tenant("acme", etag="", dry_run=False)
    await service.create_tenant(make_tenant(limit_nusd=10**8), dry_run=False)
    account = (await world.budget()).account
    assert (account.limit_nusd, account.spent_nusd, account.decisions) == (10**8, 0, 0)
    await world.feedback(old.decision.decision_id, reward=0.5)
    assert (await world.budget()).account == account


async def test_lists_come_in_pages_in_the_order_of_ids() -> None:
    world = await open_world(tenants=[make_tenant(f"t{index}") for index in (3, 1, 4, 0, 2)])
    service = world.services.admin
    found, token = [], ""
    while True:
        page = await service.list_tenants(page_size=2, page_token=token)
        found.append([stored.resource.tenant_id for stored in page.items])
        token = page.next_token
        if not token:
            break
    assert found == [["t0", "t1"], ["t2", "t3"], ["t4"]]


async def test_a_full_last_page_is_recognised_as_the_last() -> None:
    service = (await open_world()).services.admin
    page = await service.list_arms("pool", page_size=3, page_token="")
    assert [stored.resource for stored in page.items] == [LARGE, MEDIUM, SMALL]
    assert page.next_token == ""


async def test_the_arms_of_a_pool_are_not_those_of_one_whose_name_it_begins() -> None:
    service = (await open_world()).services.admin
    await service.create_pool(make_pool("pool2"), dry_run=False)
    await service.put_arm("pool2", make_arm("other"), etag="", dry_run=False)
    page = await service.list_arms("pool", page_size=10, page_token="")
    assert len(page.items) == 3
    assert [p.resource.pool_id for p in (await service.list_pools(page_size=10, page_token="")).items] == [
        "pool",
        "pool2",
    ]


async def test_a_page_has_a_default_and_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "DEFAULT_PAGE", 2)
    monkeypatch.setattr(admin, "MAX_PAGE", 3)
    service = (await open_world(tenants=[make_tenant(f"t{index}") for index in range(5)])).services.admin
    assert len((await service.list_tenants(page_size=0, page_token="")).items) == 2
    assert len((await service.list_tenants(page_size=100, page_token="")).items) == 3


async def test_what_does_not_exist_is_not_found() -> None:
    service = (await open_world()).services.admin
    for missing in (
        service.get_pool("nowhere"),
        service.update_pool(make_pool("nowhere"), etag="", dry_run=False),
        service.delete_pool("nowhere", etag="", dry_run=False),
        service.freeze_learning("nowhere", frozen=True),
        service.list_arms("nowhere", page_size=1, page_token=""),
        service.get_tenant("nobody"),
        service.update_tenant(make_tenant("nobody"), etag="", dry_run=False),
        service.delete_tenant("nobody", etag="", dry_run=False),
    ):
        with pytest.raises(ResourceNotFound):
            await missing


async def test_a_new_tenant_does_not_inherit_the_account_of_one_whose_deletion_was_cut_short() -> None:
    world = await open_world()
    await world.store.ledger.open_account("late", 5, 1)
    await world.services.admin.create_tenant(make_tenant("late", limit_nusd=10**9), dry_run=False)
    assert (await world.budget("late")).account == Account(limit_nusd=10**9)


async def test_creating_a_tenant_again_completes_a_creation_that_was_cut_short() -> None:
    world = await open_world()
    await world.store.ledger.close_account("acme", LATEST)
    with pytest.raises(AlreadyExists):
        await world.services.admin.create_tenant(make_tenant("acme"), dry_run=False)
    assert (await world.budget("acme")).account.limit_nusd == make_tenant("acme").limit_nusd
