from __future__ import annotations

from dataclasses import replace

import pytest

from bandit_router.core.errors import ResourceNotFound
from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.ports.catalog import ANY_VERSION, Kind, SchemaTooNew
from bandit_router.service import directory
from bandit_router.service.directory import Directory
from bandit_router.service.documents import arm_key, encode_resource
from bandit_router.service.schema_watch import SchemaWatch
from tests.builders import LARGE, MEDIUM, SMALL, make_pool, make_tenant
from tests.unit.service.worlds import Recorder, World, open_world


async def two_replicas() -> tuple[World, World]:
    world = await open_world()
    return world, await world.replica(seed=2)


async def test_a_change_reaches_another_replica_with_its_refresh() -> None:
    world, other = await two_replicas()
    await other.route(dry_run=True)
    await world.services.admin.put_arm("pool", replace(SMALL, enabled=False), etag="", dry_run=False)
    assert {a.arm_id for a in other.services.directory.arms("pool") if a.enabled} == {"small", "medium", "large"}
    assert await other.services.directory.refresh()
    assert {a.arm_id for a in other.services.directory.arms("pool") if a.enabled} == {"medium", "large"}
    assert "small" not in (await other.route(dry_run=True)).propensities
    assert not await other.services.directory.refresh()


async def test_a_change_is_in_force_at_once_where_it_was_made() -> None:
    world = await open_world()
    await world.services.admin.remove_arm("pool", "small", etag="", dry_run=False)
    assert set((await world.route(dry_run=True)).propensities) == {"medium", "large"}


async def test_what_another_replica_has_just_made_can_be_used_before_any_refresh() -> None:
    world, other = await two_replicas()
    await world.services.admin.create_pool(make_pool("new"), dry_run=False)
    await world.services.admin.put_arm("new", SMALL, etag="", dry_run=False)
    await world.services.admin.create_tenant(make_tenant("newcomer", pool_id="new"), dry_run=False)
    assert (await other.route(tenant_id="newcomer")).decision.arm_id == "small"


async def test_what_was_deleted_is_gone_after_a_refresh() -> None:
    world, other = await two_replicas()
    await world.services.admin.delete_tenant("acme", etag="", dry_run=False)
    await other.services.refresh()
    with pytest.raises(ResourceNotFound):
        await other.services.directory.tenant("acme")
    await world.services.admin.delete_pool("pool", etag="", dry_run=False)
    await other.services.refresh()
    with pytest.raises(ResourceNotFound):
        await other.services.directory.pool("pool")
    assert other.services.directory.arms("pool") == ()


async def test_arms_are_in_the_order_of_their_ids() -> None:
    world = await open_world(arms=[SMALL, LARGE, MEDIUM])
    assert [arm.arm_id for arm in world.services.directory.arms("pool")] == ["large", "medium", "small"]


async def test_a_replica_that_starts_knows_the_whole_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_PAGE", 3)
    tenants = [make_tenant(f"t{index}") for index in range(10)]
    world = await open_world(tenants=tenants)
    other = await world.replica(seed=2)
    assert other.services.directory.pool_ids() == ("pool",)
    assert other.services.directory.tenants_of("pool") == tuple(f"t{index}" for index in range(10))
    assert len(other.services.directory.arms("pool")) == 3


async def test_a_projection_reaches_other_replicas() -> None:
    world, other = await two_replicas()
    await world.services.projections.fit_on_texts("pool", [f"text {i}" for i in range(20)])
    assert other.services.directory.projection("pool") is None
    await other.services.refresh()
    projection = other.services.directory.projection("pool")
    assert projection is not None
    assert projection.version == 1
    assert (await other.route(dry_run=True)).decision.projection_version == 1


async def test_every_change_of_a_pool_or_its_arms_raises_its_revision() -> None:
    world = await open_world()
    admin, known = world.services.admin, world.services.directory
    revisions = [known.revision("pool")]
    await admin.put_arm("pool", replace(SMALL, max_output_tokens=5), etag="", dry_run=False)
    revisions.append(known.revision("pool"))
    await admin.update_pool(make_pool(exploration="igw:tau=5"), etag="", dry_run=False)
    revisions.append(known.revision("pool"))
    await admin.remove_arm("pool", "small", etag="", dry_run=False)
    revisions.append(known.revision("pool"))
    assert revisions == sorted(set(revisions))
    await admin.create_tenant(make_tenant("other"), dry_run=False)
    assert known.revision("pool") == revisions[-1]


async def test_changes_made_while_the_catalog_is_read_are_not_missed() -> None:
    world = await open_world()
    catalog = world.store.catalog

    class Busy:
        """Somebody adds an arm after the arms have been listed."""

        async def list(self, kind: Kind, **options: object) -> object:
            page = await catalog.list(kind, **options)  # type: ignore[arg-type]
            if kind is Kind.ARM and not page:
                body = encode_resource(replace(SMALL, arm_id="late"))
                await catalog.put(Kind.ARM, arm_key("pool", "late"), body, expected_version=ANY_VERSION)
            return page

        def __getattr__(self, name: str) -> object:
            return getattr(catalog, name)

    fresh = Directory(Busy(), SchemaWatch(Recorder()))  # type: ignore[arg-type]
    await fresh.load()
    await fresh.refresh()
    assert "late" in [arm.arm_id for arm in fresh.arms("pool")]


async def test_a_store_written_by_newer_code_is_refused_at_the_start() -> None:
    world = await open_world()
    world.store.catalog._schema = SCHEMA_VERSION + 1
    with pytest.raises(SchemaTooNew, match=str(SCHEMA_VERSION + 1)):
        await world.replica(seed=2)
