"""A store that comes back without the last it had acknowledged, under replicas that have seen it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.errors import ResourceNotFound
from bandit_router.service import learning
from bandit_router.service.learning import LEASE_MS
from bandit_router.service.retention import SETTLE_MS, Retention
from tests.builders import SMALL, make_tenant
from tests.unit.service.test_learning import assert_learned_exactly_once, stored_state, teach
from tests.unit.service.worlds import World, open_world


def image(world: World) -> dict[str, Any]:
    """What is on disk now, and comes back."""
    parts = ("ledger", "events", "snapshots", "catalog")
    shared: dict[int, Any] = {id(part): part for part in (world.clock, world.store.events)}
    return copy.deepcopy({name: vars(getattr(world.store, name)) for name in parts}, shared)


def go_back(world: World, kept: dict[str, Any]) -> None:
    """The store as it was when `kept` was taken; what came since is lost."""
    for name, content in kept.items():
        vars(getattr(world.store, name)).update(content)


async def step(*worlds: World) -> None:
    for world in worlds:
        await world.services.learner.step("pool")
        await world.services.refresh()


async def assert_all_serve_what_is_stored(*worlds: World) -> None:
    stored = await world_version(worlds[0])
    scores = []
    for world in worlds:
        route = (await world.route("the same", dry_run=True)).decision
        assert route.snapshot_version == stored
        scores.append([quote.expected_reward for quote in route.quotes])
    for other in scores[1:]:
        assert other == pytest.approx(scores[0], abs=1e-12)


async def world_version(world: World) -> int:
    return (await stored_state(world)).version


async def taught_world() -> tuple[World, World, dict[str, Any]]:
    """A world that has learned, another replica of it, and its store as it is then."""
    world = await open_world()
    other = await world.replica(seed=2)
    await teach(world, 6)
    await step(world, other)
    return world, other, image(world)


async def test_what_the_store_has_lost_is_not_in_the_state_that_is_learned_next() -> None:
    world, other, kept = await taught_world()
    for first in range(6, 18, 3):
        await teach(world, 3, first=first)
        await step(world, other)
    go_back(world, kept)
    await teach(world, 3, first=6, reward=0.1)
    await step(world, other)
    await assert_learned_exactly_once(world)
    await assert_all_serve_what_is_stored(world, other)
    assert "another_state_stored" in world.observer.events()


async def test_replicas_serve_what_is_stored_also_if_nothing_more_is_learned() -> None:
    world, other, kept = await taught_world()
    await teach(world, 3, first=6)
    await step(world, other)
    go_back(world, kept)
    await step(world, other)
    await assert_all_serve_what_is_stored(world, other)


async def test_a_version_that_is_given_out_again_is_another_state() -> None:
    world, other, kept = await taught_world()
    await teach(world, 3, first=6)
    await step(world, other)
    version = await world_version(world)
    go_back(world, kept)
    await teach(world, 3, first=6, reward=0.1)
    await world.services.learner.step("pool")
    assert await world_version(world) == version
    await step(other)
    await assert_all_serve_what_is_stored(world, other)
    await assert_learned_exactly_once(world)


async def test_ids_that_the_log_gives_out_again_are_neither_skipped_nor_learned_twice() -> None:
    world = await open_world()
    await teach(world, 6)
    await step(world)
    kept = image(world)
    world.clock.jump(50)
    await teach(world, 9, first=6)
    await step(world)
    lost = max(entry.entry_id for entry in await world.store.events.read("pool", {}, 10**6))
    go_back(world, kept)
    world.clock._now_ms -= 45_000  # a machine that comes up with another time
    await teach(world, 4, first=6)
    assert max(entry.entry_id for entry in await world.store.events.read("pool", {}, 10**6)) < lost
    await step(world)
    await assert_learned_exactly_once(world)


async def test_a_lease_token_that_is_given_out_again_does_not_let_the_earlier_learner_write() -> None:
    world = await open_world()
    rival = await world.replica(seed=2)
    await teach(world, 6)
    await step(rival)
    kept = image(world)
    world.clock.jump(LEASE_MS / 1000)
    await teach(world, 3, first=6)
    await step(world)
    go_back(world, kept)
    third = await world.replica(seed=3)
    await step(third)
    await teach(world, 4, first=6, reward=0.3)
    await step(third, world, rival)
    await assert_learned_exactly_once(world)
    await assert_all_serve_what_is_stored(world, rival, third)


async def test_what_is_lost_while_it_is_folded_is_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await open_world()
    await teach(world, 4)
    await step(world)
    kept = image(world)
    await teach(world, 4, first=4)
    original = learning.fold

    def fold(*args: Any) -> Any:
        go_back(world, kept)
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(learning, "fold", fold)
        assert await world.services.learner.step("pool") == 0
    assert "events_vanished" in world.observer.events()
    await teach(world, 2, first=4)
    await step(world)
    await assert_learned_exactly_once(world)


async def test_the_first_state_of_a_pool_may_be_lost() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    kept = image(world)
    await teach(world, 3)
    await step(world, other)
    go_back(world, kept)
    await teach(world, 4, reward=0.2)
    await step(world, other)
    await assert_learned_exactly_once(world)
    await assert_all_serve_what_is_stored(world, other)


async def test_a_pool_whose_first_state_is_lost_is_served_as_one_that_has_learned_nothing() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    kept = image(world)
    await teach(world, 3)
    await step(world)
    await other.route("the same", dry_run=True)
    go_back(world, kept)
    await step(world, other)
    fresh = await world.replica(seed=3)
    expected = (await fresh.route("the same", dry_run=True)).decision.quotes
    for replica in (world, other):
        decision = (await replica.route("the same", dry_run=True)).decision
        assert (decision.snapshot_version, decision.quotes) == (0, expected)


async def test_no_events_are_dropped_behind_a_state_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await open_world()
    learner = (await world.replica(seed=2, retention=Retention(keep_s=0, keep_newest=0))).services.learner
    await teach(world, 2)
    await learner.step("pool")
    kept = image(world)["snapshots"]["_snapshots"]
    await teach(world, 6, first=2)
    await learner.step("pool")
    world.store.snapshots._snapshots = kept  # in a cluster, events may lie on a server that has lost nothing
    world.clock.jump(max(SETTLE_MS, LEASE_MS) / 1000)
    monkeypatch.setattr(learning, "FOLD_BATCH", 1)
    while await learner.step("pool"):
        pass
    await assert_learned_exactly_once(world)


async def test_changes_of_the_catalog_that_are_lost_are_forgotten_also_if_others_were_made_since() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    kept = image(world)
    await world.services.admin.create_tenant(make_tenant("lost"), dry_run=False)
    await world.services.admin.put_arm("pool", replace(SMALL, arm_id="lost"), etag="", dry_run=False)
    await other.services.refresh()
    go_back(world, kept)
    fresh = await world.replica(seed=3)
    for number in range(5):
        await fresh.services.admin.create_tenant(make_tenant(f"new{number}"), dry_run=False)
    for replica in (world, other):
        await replica.services.refresh()
        directory = replica.services.directory
        assert "lost" not in [arm.arm_id for arm in directory.arms("pool")]
        assert (await directory.tenant("new4")).tenant_id == "new4"
        with pytest.raises(ResourceNotFound):
            await directory.tenant("lost")
        decision = (await replica.route(dry_run=True)).decision
        assert "lost" not in [quote.arm_id for quote in decision.quotes]
