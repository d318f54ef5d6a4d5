from __future__ import annotations

from bandit_router.ports.events import is_before
from bandit_router.service.retention import SETTLE_MS, Retention
from tests.unit.service.test_learning import assert_learned_exactly_once, stored_state, teach
from tests.unit.service.worlds import World, open_world


async def kept(world: World) -> int:
    return len(await world.store.events.read("pool", {}, 10**6))


async def learner_that_keeps(world: World, keep_s: float, keep_newest: int) -> World:
    return await world.replica(2, retention=Retention(keep_s, keep_newest))


async def settle(learner: World) -> None:
    learner.clock.jump(SETTLE_MS / 1000)
    await learner.services.learner.step("pool")


async def test_learned_events_are_kept_for_their_time_and_then_dropped() -> None:
    world = await open_world()
    learner = await learner_that_keeps(world, keep_s=60, keep_newest=10**6)
    await teach(world, 5)
    await learner.services.learner.step("pool")
    count = await kept(world)
    await settle(learner)
    assert await kept(world) == count > 5
    world.clock.jump(60)
    await settle(learner)
    assert await kept(world) == 0
    assert learner.observer.counts["events_trimmed"] == count


async def test_no_more_than_the_newest_events_are_kept() -> None:
    world = await open_world()
    learner = await learner_that_keeps(world, keep_s=10**9, keep_newest=3)
    await teach(world, 10)
    await learner.services.learner.step("pool")
    await settle(learner)
    assert await kept(world) == 3


async def test_events_are_dropped_behind_a_snapshot_that_has_been_stored_for_a_while_only() -> None:
    world = await open_world()
    learner = await learner_that_keeps(world, keep_s=0, keep_newest=0)
    await teach(world, 4)
    await learner.services.learner.step("pool")
    first = dict((await stored_state(world)).positions)
    world.clock.jump(SETTLE_MS / 1000 - 1)
    await teach(world, 4, first=4)
    await learner.services.learner.step("pool")
    world.clock.jump(1)
    await learner.services.learner.step("pool")
    left = await world.store.events.read("pool", {}, 100)
    assert left
    assert all(is_before(first[entry.partition], entry.entry_id) for entry in left)
    assert dict(await world.store.events.trimmed("pool")) == first


async def test_what_a_frozen_pool_has_not_learned_is_kept() -> None:
    world = await open_world()
    learner = await learner_that_keeps(world, keep_s=0, keep_newest=0)
    await world.services.admin.freeze_learning("pool", frozen=True)
    await teach(world, 5)
    await learner.services.refresh()
    for _ in range(3):
        await settle(learner)
    await world.services.admin.freeze_learning("pool", frozen=False)
    await learner.services.refresh()
    await learner.services.learner.step("pool")
    await assert_learned_exactly_once(world)


async def test_a_learner_that_takes_over_drops_only_what_it_has_seen_stored() -> None:
    world = await open_world()
    other = await world.replica(3, retention=Retention(0, 0))
    learner = await learner_that_keeps(world, keep_s=0, keep_newest=0)
    await teach(world, 4)
    await learner.services.learner.step("pool")
    await settle(learner)
    assert await kept(world) == 0
    await teach(world, 4, first=4)
    await settle(other)
    count = await kept(world)
    await settle(other)
    assert count > 0
    assert await kept(world) == 0
    state = await stored_state(world)
    assert sum(arm.settled for arm in state.arms.values()) == 8
