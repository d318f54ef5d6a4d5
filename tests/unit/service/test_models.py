from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.errors import ResourceNotFound, StateUnreadable
from bandit_router.core.pool_codec import encode_pool_state
from bandit_router.core.pool_state import PoolState
from bandit_router.ports.snapshots import Snapshot, Stamp
from bandit_router.service.models import Models, empty_state
from tests.builders import SMALL
from tests.unit.service.worlds import World, Wrapped, open_world


async def publish(world: World, version: int, mark: str = "") -> None:
    token = await world.store.snapshots.acquire("pool", "test", 10**9)
    assert token is not None
    state = empty_state(await world.services.directory.pool("pool"))
    state.version = version
    snapshot = Snapshot(version, encode_pool_state(state), mark)
    assert await world.store.snapshots.save("pool", token, snapshot, after=await world.store.snapshots.stamp("pool"))


async def test_a_pool_is_served_with_its_arms_in_the_order_of_the_model() -> None:
    served = await (await open_world()).services.models.served("pool")
    assert tuple(arm.arm_id for arm in served.arms) == served.model.arm_ids == ("large", "medium", "small")
    assert served.policy_prefix == "hierarchical/igw"
    assert served.has_live_arms


async def test_a_served_pool_is_kept_until_something_changes() -> None:
    world = await open_world()
    models = world.services.models
    first = await models.served("pool")
    assert await models.served("pool") is first
    await world.services.admin.put_arm("pool", replace(SMALL, max_output_tokens=5), etag="", dry_run=False)
    second = await models.served("pool")
    assert second is not first
    await publish(world, 1)
    await models.refresh_all()
    assert (await models.served("pool")).model.version == 1


async def test_only_other_snapshots_are_taken_over() -> None:
    world = await open_world()
    models = world.services.models
    await models.served("pool")
    assert not await models.refresh("pool")
    await publish(world, 3)
    assert await models.refresh("pool")
    assert not await models.refresh("pool")
    assert models.version("pool") == 3


async def test_what_the_store_has_instead_is_taken_over_also_where_it_is_older_or_of_the_same_version() -> None:
    world = await open_world()
    models = world.services.models
    await publish(world, 3, "first")
    await models.served("pool")
    await publish(world, 2, "second")
    assert await models.refresh("pool")
    assert models.version("pool") == 2
    await publish(world, 2, "third")
    assert await models.refresh("pool")
    assert not await models.refresh("pool")


class Overtaken(Wrapped):
    """A newer state is adopted while an older snapshot is on its way."""

    models: Models

    async def load(self, pool_id: str) -> Any:
        snapshot = await self.inner.load(pool_id)
        newer = PoolState(dimension=6, generation=1)
        newer.version = 9
        self.models.adopt(pool_id, newer, Stamp(9))
        return snapshot


async def test_a_snapshot_that_was_overtaken_on_its_way_is_not_served() -> None:
    world = await open_world()
    await publish(world, 3)
    snapshots = Overtaken(world.store.snapshots)
    models = snapshots.models = Models(world.services.directory, snapshots, world.observer)  # type: ignore[arg-type]
    assert not await models.refresh("pool")
    assert models.version("pool") == 9


async def test_a_pool_that_does_not_exist_is_not_served() -> None:
    models = (await open_world()).services.models
    with pytest.raises(ResourceNotFound):
        await models.served("nowhere")
    assert models.version("nowhere") == 0


async def test_a_replica_that_cannot_read_the_newest_state_goes_on_with_the_one_before() -> None:
    world = await open_world()
    await world.services.models.served("pool")
    await publish(world, 1)
    await world.services.refresh()
    assert (await world.route(dry_run=True)).decision.snapshot_version == 1
    token = await world.store.snapshots.acquire("pool", "test", 60_000)
    assert token is not None
    await world.store.snapshots.save("pool", token, Snapshot(2, b"written by code of the future"), after=Stamp(1))
    await world.services.refresh()
    assert (await world.route(dry_run=True)).decision.snapshot_version == 1
    assert "state_unreadable" in world.observer.events()
    fresh = await world.replica(seed=2)
    with pytest.raises(StateUnreadable) as caught:
        await fresh.route(dry_run=True)
    assert caught.value.code == "UNAVAILABLE"
