"""StreamEvents over a log that is trimmed: resumes exactly, or says that it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bandit_router.adapters.grpc.event_stream import EventStream
from bandit_router.adapters.grpc.wire_events import encode_cursor
from bandit_router.core.errors import EventsTrimmed
from bandit_router.core.partition import partition_of
from bandit_router.ports.events import KEEP_NOTHING
from bandit_router.v1 import admin_pb2 as pb
from tests.builders import make_tenant
from tests.unit.service.test_learning import teach
from tests.unit.service.worlds import World, Wrapped, open_world, with_parts


async def stream(world: World, cursor: str = "", events: Any = None) -> tuple[list[str], str]:
    """Decisions of what comes, and the last cursor."""
    services = world.services
    if events is not None:
        services = (await world.replica(9, with_parts(world.store, events=events))).services
    found: list[str] = []
    request = pb.StreamEventsRequest(pool_id="pool", cursor=cursor)
    async for response in EventStream(services, asyncio.Event()).stream(request):
        found += [event.position for event in response.events]
        cursor = response.cursor
    return found, cursor


async def drop_all(world: World) -> None:
    await world.store.events.trim("pool", await world.store.events.last("pool"), KEEP_NOTHING)


async def test_a_stream_resumes_behind_events_that_it_has_sent_even_if_they_are_dropped() -> None:
    world = await open_world()
    await teach(world, 3)
    first, cursor = await stream(world)
    await drop_all(world)
    assert await stream(world, cursor) == ([], cursor)
    await teach(world, 2, first=3)
    rest, _ = await stream(world, cursor)
    assert first
    assert rest
    assert not set(first) & set(rest)


async def test_a_cursor_before_dropped_events_is_out_of_range() -> None:
    world = await open_world()
    await teach(world, 3)
    _, cursor = await stream(world)
    await teach(world, 2, first=3)
    await drop_all(world)
    with pytest.raises(EventsTrimmed) as caught:
        await stream(world, cursor)
    assert (caught.value.code, caught.value.reason) == ("OUT_OF_RANGE", "EVENTS_TRIMMED")


async def test_without_a_cursor_a_stream_begins_with_the_oldest_event_kept() -> None:
    world = await open_world()
    await teach(world, 3)
    await drop_all(world)
    await teach(world, 2, first=3)
    found, _ = await stream(world)
    assert len(found) == len(await world.store.events.read("pool", {}, 100)) > 0


async def test_events_dropped_in_a_partition_that_was_empty_at_the_cursor_are_missed_too() -> None:
    tenants = ["acme", "globex"]
    assert len({partition_of(name) for name in tenants}) == 2
    world = await open_world(tenants=[make_tenant(name) for name in tenants])
    await teach(world, 2)
    _, cursor = await stream(world)
    for old_cursor in (cursor, encode_cursor(await world.store.events.last("pool"))):
        reply = await world.route(tenant_id="globex")
        await world.feedback(reply.decision.decision_id, "globex", reward=1.0)
        await drop_all(world)
        with pytest.raises(EventsTrimmed):
            await stream(world, old_cursor)


class DropsBehindTheReader(Wrapped):
    """Drops everything just before it is read, once."""

    is_done = False

    async def read(self, pool_id: str, after: Any, limit: int) -> Any:
        if not self.is_done:
            self.is_done = True
            await self.inner.trim(pool_id, await self.inner.last(pool_id), KEEP_NOTHING)
        return await self.inner.read(pool_id, after, limit)


async def test_events_dropped_under_a_streams_eyes_are_told() -> None:
    world = await open_world()
    await teach(world, 3)
    with pytest.raises(EventsTrimmed):
        await stream(world, events=DropsBehindTheReader(world.store.events))
