"""Events that cannot be learned: kept, visible, tried again on demand, never learned twice, never in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core import folding
from bandit_router.core.codec import decode_decision, encode_decision
from bandit_router.ports.events import EventEntry
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.snapshots import NO_SNAPSHOT, DeadLetter, Snapshot
from bandit_router.service.learning import LEASE_MS, REDRIVE_MS
from tests.unit.service.test_learning import assert_learned_exactly_once, stored_state, teach
from tests.unit.service.worlds import World, Wrapped, open_world, with_parts


async def letters(world: World) -> list[DeadLetter]:
    return list(await world.store.snapshots.letters("pool", after_id="", limit=1000))


def spoil(world: World, number: int, decision: bytes) -> EventEntry:
    """Damage one entry of the log; the sound one."""
    [stream] = world.store.events._pools["pool"].values()
    sound = stream.entries[number]
    stream.entries[number] = replace(sound, decision=decision)
    return sound


async def test_an_event_that_cannot_be_read_does_not_stop_the_others_from_being_learned() -> None:
    world = await open_world()
    await teach(world, 4)
    count = len(await world.store.events.read("pool", {}, 100))
    spoil(world, 1, b"{not json")
    await world.services.learner.step("pool")
    [letter] = await letters(world)
    assert "cannot be read" in letter.reason
    assert (letter.entry.decision, letter.tries) == (b"{not json", 1)
    state = await stored_state(world)
    assert state.events == count - 1
    assert state.positions == await world.store.events.last("pool")
    assert world.observer.counts["events_dead"] == 1


async def test_an_event_of_another_shape_is_a_dead_letter() -> None:
    world = await open_world()
    await teach(world, 2)
    sound = (await world.store.events.read("pool", {}, 1))[0]
    spoil(world, 0, encode_decision(replace(decode_decision(sound.decision), context=(1.0, 2.0))))
    await world.services.learner.step("pool")
    assert "coordinates" in (await letters(world))[0].reason


async def redrive(world: World) -> None:
    await world.store.snapshots.redrive("pool")
    world.clock.jump(REDRIVE_MS / 1000)
    await world.services.learner.step("pool")


async def test_dead_letters_are_tried_again_on_demand_and_learned_once() -> None:
    world = await open_world()
    await teach(world, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "learn", refuses_large(folding.learn))
        await world.services.learner.step("pool")
    dead = len(await letters(world))
    assert 0 < dead < len(await world.store.events.read("pool", {}, 100))
    await redrive(world)
    assert await letters(world) == []
    await assert_learned_exactly_once(world)
    await redrive(world)
    await assert_learned_exactly_once(world)


def refuses_large(learn: Any) -> Any:
    """Code that cannot learn half of the queries."""

    def refusing(state: Any, decision: Any, before: Any, after: Any) -> None:
        if sum(decision.decision_id.encode()) % 2:
            raise folding.MismatchedContext("not today")
        learn(state, decision, before, after)

    return refusing


async def test_what_fails_again_stays_dead_and_counts_its_tries() -> None:
    world = await open_world()
    await teach(world, 2)
    spoil(world, 0, b"{}")
    await world.services.learner.step("pool")
    for tries in (2, 3):
        await redrive(world)
        [letter] = await letters(world)
        assert letter.tries == tries
    world.clock.jump(REDRIVE_MS / 1000)
    await world.services.learner.step("pool")
    assert (await letters(world))[0].tries == 3


class LosesOneAnswer(Wrapped):
    """Stores the first snapshot that it is given, and says that it may not have."""

    async def save(self, *args: Any, **options: Any) -> bool:
        stored = bool(await self.inner.save(*args, **options))
        if stored and not getattr(self, "lost", False):
            self.lost = True
            raise StoreUnavailable("the answer was lost")
        return stored


async def test_a_lost_answer_leaves_one_dead_letter_per_event() -> None:
    world = await open_world()
    learner = await world.replica(2, with_parts(world.store, snapshots=LosesOneAnswer(world.store.snapshots)))
    await teach(world, 4)
    spoil(world, 1, b"{}")
    with pytest.raises(StoreUnavailable):
        await learner.services.learner.step("pool")
    await teach(world, 2, first=4)
    for _ in range(3):
        await learner.services.learner.step("pool")
    assert len(await letters(world)) == 1


async def test_a_pool_that_cannot_be_learned_does_not_keep_the_others_from_learning() -> None:
    from tests.builders import make_pool

    world = await open_world()
    await world.services.admin.create_pool(make_pool("another"), dry_run=False)
    token = await world.store.snapshots.acquire("another", "x", 1)
    assert token is not None
    await world.store.snapshots.save("another", token, Snapshot(1, b"damaged"), after=NO_SNAPSHOT)
    world.clock.jump(1)
    await teach(world, 3)
    assert await world.services.learner.step_all() > 0
    assert "pool_not_learned" in world.observer.events()
    await assert_learned_exactly_once(world)


async def fit(world: World) -> None:
    await world.services.projections.fit_on_texts("pool", [f"text {i}" for i in range(20)])


class Deaf(Wrapped):
    """A catalog whose changes this replica does not hear of until it listens."""

    listens = False

    async def changes(self, since: int, stamp: str | None = None) -> Any:
        found = await self.inner.changes(*(since, stamp) if self.listens else (2**62,))
        return found if self.listens else replace(found, version=since, stamp=stamp)


async def test_a_learner_that_has_not_seen_a_new_projection_looks_for_it_before_it_judges() -> None:
    world = await open_world()
    learner = await world.replica(seed=2)
    await teach(world, 3)
    await learner.services.learner.step("pool")
    await fit(world)
    await teach(world, 4, first=3)
    await learner.services.learner.step("pool")
    state = await stored_state(world)
    assert state.projection_version == 1
    assert sum(arm.settled for arm in state.arms.values()) == 4
    assert await letters(world) == []
    assert learner.observer.counts["events_not_learnable"] == 0


async def test_a_learner_that_takes_over_keeps_what_was_learned_in_coordinates_that_are_new_to_it() -> None:
    world = await open_world()
    behind = await world.replica(seed=2)
    await fit(world)
    await teach(world, 4)
    await world.services.learner.step("pool")
    world.clock.jump(LEASE_MS / 1000)
    await teach(world, 2, first=4)
    await behind.services.learner.step("pool")
    state = await stored_state(world)
    assert state.projection_version == 1
    assert sum(arm.settled for arm in state.arms.values()) == 6


async def test_events_of_a_projection_that_nobody_knows_become_dead_letters_and_are_learned_once_it_is_there() -> None:
    world = await open_world()
    catalog = Deaf(world.store.catalog)
    learner = await world.replica(2, with_parts(world.store, catalog=catalog))
    await fit(world)
    await teach(world, 4)
    await learner.services.learner.step("pool")
    assert len(await letters(world)) == len(await world.store.events.read("pool", {}, 100))
    catalog.listens = True
    await learner.services.refresh()
    await redrive(learner)
    assert await letters(world) == []
    state = await stored_state(world)
    assert (state.projection_version, sum(arm.settled for arm in state.arms.values())) == (1, 4)
