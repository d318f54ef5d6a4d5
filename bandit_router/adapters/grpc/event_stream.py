"""StreamEvents: a pool's joined events from a cursor on, to the end of the log or for as long as the caller listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bandit_router.adapters.grpc.wire_events import decode_cursor, encode_cursor, event
from bandit_router.core.errors import EventsTrimmed
from bandit_router.core.partition import PARTITION_COUNT
from bandit_router.ports.events import START, is_before
from bandit_router.service.assembly import Services
from bandit_router.v1 import admin_pb2 as pb

READ_LIMIT = 100
"""Entries per partition and read."""

MESSAGE_EVENTS = 200
POLL_S = 0.2
HEARTBEAT_POLLS = 50
"""While there is nothing new, an empty message is sent after so many polls."""


class EventStream:
    """Streams events until their end, or, following, until `stopping` is set."""

    def __init__(self, services: Services, stopping: asyncio.Event) -> None:
        self._directory = services.directory
        self._events = services.store.events
        self._clock = services.clock
        self._stopping = stopping

    async def stream(self, request: pb.StreamEventsRequest) -> AsyncIterator[pb.StreamEventsResponse]:
        """Messages of events, each with the cursor behind it.

        Raises ResourceNotFound, InvalidRequest, EventsTrimmed.
        """
        await self._directory.pool(request.pool_id)
        given = decode_cursor(request.cursor) or await self._events.trimmed(request.pool_id)
        positions = {partition: given.get(partition, START) for partition in range(PARTITION_COUNT)}
        idle_polls = 0
        while not self._stopping.is_set():
            any_new = False
            async for response in self._read(request, positions):
                any_new = True
                yield response
            if any_new:
                idle_polls = 0
                continue
            if not request.follow:
                return
            idle_polls += 1
            if idle_polls % HEARTBEAT_POLLS == 0:
                yield pb.StreamEventsResponse(cursor=encode_cursor(positions))
            await self._clock.sleep(POLL_S)

    async def _read(
        self, request: pb.StreamEventsRequest, positions: dict[int, str]
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """What the log holds behind `positions`, which move along. Nothing is passed over: first it is read, then
        looked whether something had been dropped."""
        entries = await self._events.read(request.pool_id, positions, READ_LIMIT)
        trimmed = await self._events.trimmed(request.pool_id)
        if any(is_before(positions[partition], entry_id) for partition, entry_id in trimmed.items()):
            raise EventsTrimmed(request.pool_id)
        for start in range(0, len(entries), MESSAGE_EVENTS):
            part = entries[start : start + MESSAGE_EVENTS]
            positions.update({entry.partition: entry.entry_id for entry in part})
            found = [event(entry) for entry in part]
            wanted = [e for e in found if request.tenant_id in ("", e.tenant_id)]
            yield pb.StreamEventsResponse(events=wanted, cursor=encode_cursor(positions))
