"""Reads of the catalog that overlap: the directory's view is whole at every moment and never goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace

import pytest

from bandit_router.core.errors import StoreAway
from bandit_router.ports.catalog import Document, Kind
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.directory import Directory
from bandit_router.service.schema_watch import SchemaWatch
from tests.builders import LARGE, MEDIUM, SMALL, make_pool, make_tenant
from tests.unit.service.worlds import Recorder, World, Wrapped, open_world, with_parts, yielding


class SlowCatalog(Wrapped):
    """Answers that are ready wait until they are let through, where a test asks for that."""

    def __init__(self, inner: object) -> None:
        super().__init__(inner)
        self.slow: dict[str, asyncio.Event] = {}
        self.broken: set[Kind] = set()
        self.before: dict[Kind, Awaitable[object]] = {}

    def hold_back(self, method: str) -> asyncio.Event:
        """The next answer of `method` waits for the event."""
        self.slow[method] = asyncio.Event()
        return self.slow[method]

    async def get(self, kind: Kind, key: str) -> Document | None:
        if kind in self.broken:
            raise StoreUnavailable("gone")
        found: Document | None = await self.inner.get(kind, key)
        await self._wait("get")
        return found

    async def list(self, kind: Kind, **options: object) -> Sequence[Document]:
        if kind in self.broken:
            raise StoreUnavailable("gone")
        if meanwhile := self.before.pop(kind, None):
            await meanwhile
        page: Sequence[Document] = await self.inner.list(kind, **options)
        await self._wait("list")
        return page

    async def _wait(self, method: str) -> None:
        if event := self.slow.pop(method, None):
            await event.wait()


async def started(call: Awaitable[object]) -> asyncio.Task[object]:
    """The call, under way up to where it waits."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    return task  # type: ignore[return-value]


async def open_directory() -> tuple[World, SlowCatalog, Directory]:
    world = await open_world()
    catalog = SlowCatalog(world.store.catalog)
    directory = Directory(catalog, SchemaWatch(Recorder()))  # type: ignore[arg-type]
    await directory.load()
    return world, catalog, directory


def arm_ids(directory: Directory, pool_id: str = "pool") -> list[str]:
    return [arm.arm_id for arm in directory.arms(pool_id)]


async def add_pool(world: World) -> None:
    await world.services.admin.create_pool(make_pool("new"), dry_run=False)
    await add_to_pool(world)


async def add_to_pool(world: World) -> None:
    """The arms, and then the first tenant."""
    for arm in (SMALL, MEDIUM, LARGE):
        await world.services.admin.put_arm("new", arm, etag="", dry_run=False)
    await world.services.admin.create_tenant(make_tenant("newcomer", pool_id="new"), dry_run=False)


@pytest.mark.parametrize("is_refreshing", [False, True])
async def test_requests_for_a_pool_that_is_being_read_see_all_its_arms(is_refreshing: bool) -> None:
    world = await open_world()
    other = await world.replica(seed=2, store=yielding(world.store))
    await add_pool(world)
    calls = [await started(other.services.refresh())] if is_refreshing else []
    calls += [await started(other.route(tenant_id="newcomer")) for _ in range(60)]
    for reply in (await asyncio.gather(*calls))[is_refreshing:]:
        assert len(reply.decision.quotes) == 3  # type: ignore[attr-defined]


async def test_a_refresh_that_was_cut_short_is_begun_again() -> None:
    world, catalog, directory = await open_directory()
    await add_pool(world)
    catalog.broken = {Kind.ARM}
    with pytest.raises(StoreUnavailable):
        await directory.pool("new")
    catalog.broken = set()
    await directory.pool("new")
    assert len(arm_ids(directory, "new")) == 3


async def test_a_tenant_made_during_a_start_comes_with_all_the_arms_of_its_pool() -> None:
    world = await open_world()
    await world.services.admin.create_pool(make_pool("new"), dry_run=False)
    catalog = SlowCatalog(world.store.catalog)
    catalog.before[Kind.TENANT] = add_to_pool(world)
    directory = Directory(catalog, SchemaWatch(Recorder()))  # type: ignore[arg-type]
    await directory.load()
    assert (await directory.tenant("newcomer")).pool_id == "new"
    assert len(arm_ids(directory, "new")) == 3


async def test_a_tenant_that_is_not_known_yet_comes_with_all_the_arms_of_a_pool_that_is() -> None:
    world, _, directory = await open_directory()
    await world.services.admin.create_pool(make_pool("new"), dry_run=False)
    await directory.refresh()
    await add_to_pool(world)
    await directory.tenant("newcomer")
    assert len(arm_ids(directory, "new")) == 3


async def test_an_old_answer_does_not_replace_what_a_later_refresh_has_brought() -> None:
    world, catalog, directory = await open_directory()
    admin = world.services.admin
    await admin.put_arm("pool", replace(SMALL, max_output_tokens=1), etag="", dry_run=False)
    event = catalog.hold_back("get")
    early = await started(directory.refresh())
    await admin.put_arm("pool", replace(SMALL, max_output_tokens=2), etag="", dry_run=False)
    assert await directory.refresh()
    event.set()
    await early
    assert {arm.max_output_tokens for arm in directory.arms("pool") if arm.arm_id == "small"} == {2}
    assert not await directory.refresh()


async def test_what_was_deleted_does_not_come_back_with_a_late_answer() -> None:
    world, catalog, directory = await open_directory()
    await world.services.admin.create_tenant(make_tenant("brief"), dry_run=False)
    event = catalog.hold_back("get")
    lookup = await started(directory.tenant("brief"))
    await world.services.admin.delete_tenant("brief", etag="", dry_run=False)
    await directory.refresh()
    event.set()
    with pytest.raises(Exception, match="does not exist"):
        await lookup
    assert directory.tenants_of("pool") == ("acme",)


async def test_a_start_that_failed_leaves_nothing_behind_for_the_next() -> None:
    world = await open_world()
    catalog = SlowCatalog(world.store.catalog)
    directory = Directory(catalog, SchemaWatch(Recorder()))  # type: ignore[arg-type]
    catalog.broken = {Kind.TENANT}
    with pytest.raises(StoreUnavailable):
        await directory.load()
    await world.services.admin.remove_arm("pool", "small", etag="", dry_run=False)
    catalog.broken = set()
    await directory.load()
    assert arm_ids(directory) == ["large", "medium"]


async def test_feedback_says_that_the_store_is_away_also_when_its_tenant_is_not_known_yet() -> None:
    world = await open_world()
    reply = await world.route()

    class Away(Wrapped):
        async def get(self, kind: Kind, key: str) -> Document | None:
            raise StoreUnavailable("gone")

    other = await world.replica(seed=2, store=with_parts(world.store, catalog=Away(world.store.catalog)))
    await world.services.admin.create_tenant(make_tenant("late"), dry_run=False)
    with pytest.raises(StoreAway):
        await other.feedback(reply.decision.decision_id, tenant_id="late", reward=1.0)
