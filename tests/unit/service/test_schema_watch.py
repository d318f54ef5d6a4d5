"""A replica that runs on while newer code raises the store's schema version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from bandit_router.core.errors import StateUnreadable
from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.service.schema_watch import SchemaWatch
from bandit_router.service.tasks import REFRESH_S, BackgroundTasks
from tests.builders import SMALL, make_pool
from tests.unit.service.worlds import Recorder, World, open_world


async def overtaken() -> tuple[World, str]:
    """A replica that has read that the store needs newer code, and a decision that it made before."""
    world = await open_world(pool=make_pool(default_reward=0.5, default_reward_deadline_s=60.0), arms=[SMALL])
    decision_id = (await world.route()).decision.decision_id
    await world.store.catalog.raise_schema(SCHEMA_VERSION + 1)
    await world.services.refresh()
    return world, decision_id


def test_what_was_told_once_is_not_forgotten_and_noted_once() -> None:
    observer = Recorder()
    schema = SchemaWatch(observer, known=2)
    for version in (0, 2, 3, 2, 4):
        schema.told(version)
    assert not schema.is_readable
    assert observer.notes == [("schema_too_new", {"needs": 3, "known": 2})]
    with pytest.raises(StateUnreadable, match="needs schema version 4"):
        schema.check()


def test_a_store_of_a_known_version_is_readable() -> None:
    schema = SchemaWatch(Recorder(), known=2)
    for version in (0, 1, 2):
        schema.told(version)
        schema.check()
        assert schema.is_readable


WRITES: dict[str, Callable[[World, str], Awaitable[object]]] = {
    "decide": lambda world, _: world.route(),
    "bill": lambda world, decision_id: world.feedback(decision_id, reward=0.5),
    "grant": lambda world, _: world.services.budgets.grant("acme", 5, reason="", actor=""),
    "expire": lambda world, _: world.services.sweeper.sweep(),
}


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_is_written_that_newer_code_would_have_to_write(write: str) -> None:
    world, decision_id = await overtaken()
    world.clock.jump(601)
    before = world.contents()
    with pytest.raises(StateUnreadable):
        await WRITES[write](world, decision_id)
    assert world.contents() == before


async def test_what_is_due_is_left_to_newer_code() -> None:
    world = await open_world(pool=make_pool(default_reward=0.5, default_reward_deadline_s=60.0), arms=[SMALL])
    await world.settle(await world.route())
    await world.store.catalog.raise_schema(SCHEMA_VERSION + 1)
    await world.services.refresh()
    world.clock.jump(61)
    with pytest.raises(StateUnreadable):
        await world.services.defaults.assume()
    with pytest.raises(StateUnreadable):
        await world.services.learner.step("pool")
    assert await world.store.snapshots.load("pool") is None


async def test_its_leases_are_given_up_at_once() -> None:
    world = await open_world(arms=[SMALL])
    await world.services.learner.step("pool")
    assert await world.store.snapshots.acquire("pool", "newer", 1000) is None
    await world.store.catalog.raise_schema(SCHEMA_VERSION + 1)
    await world.services.refresh()
    assert await world.store.snapshots.acquire("pool", "newer", 1000) is not None


async def test_its_loops_rest_without_a_failure() -> None:
    world, _ = await overtaken()
    tasks = BackgroundTasks(world.services)
    tasks.start()
    await world.clock.advance(700 + 2 * REFRESH_S)
    await tasks.stop()
    assert (await world.store.ledger.due(world.clock.now_ms(), 10)) != []
    assert world.observer.events().count("schema_too_new") == 1
    assert "task_failed" not in world.observer.events()
