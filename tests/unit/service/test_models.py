from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bandit_router.core.errors import ResourceNotFound, StateUnreadable
from bandit_router.core.pool_codec import encode_pool_state
from bandit_router.core.pool_state import PoolState
from bandit_router.ports.snapshots import Snapshot, Stamp
from bandit_router.service.models import Models, empty_state
from tests.builders import MEDIUM, SMALL, make_pool, make_query
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


async def test_holds_are_those_of_live_arms_and_the_layer_draws_among_some_of_them() -> None:
    world = await open_world()
    await world.services.admin.put_arm("pool", replace(MEDIUM, draining=True), etag="", dry_run=False)
    served = await world.services.models.served("pool")

    holds = served.worst_holds(make_query([1.0] + [0.0] * 5, prompt_tokens=100, most_prompt_tokens=200))

    assert holds.usd.tolist() == pytest.approx([200 * 10e-6 + 1000 * 40e-6, 200 * 0.1e-6 + 1000 * 0.4e-6])
    scores = np.array([[0.5, 0.4999], [0.2, 0.9]])
    assert holds.weigher((0, 1))(scores, scores) == pytest.approx(served.weigher()(scores, scores))
    assert holds.weigher((1,))(scores[:, 1:], scores[:, 1:]).tolist() == [[1.0], [1.0]]


async def test_the_baseline_has_its_share_only_among_arms_of_which_it_is_one() -> None:
    world = await open_world(pool=make_pool(holdout_share=0.2, baseline_arm_id="small"))
    served = await world.services.models.served("pool")
    scores = np.array([[0.9, 0.1]])

    assert served.weigher((0, 2))(scores, scores)[0, 1] == pytest.approx(0.2, abs=1e-3)
    assert served.weigher((0, 1))(scores, scores)[0, 1] == pytest.approx(0.0, abs=1e-3)
