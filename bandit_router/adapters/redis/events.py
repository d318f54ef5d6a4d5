"""The event log in Redis: a stream per pool and partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bandit_router.adapters.redis import keys, scripts
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import plain
from bandit_router.core.partition import PARTITION_COUNT
from bandit_router.ports.events import START, EventEntry, Keep, Positions

_PARTITIONS = range(PARTITION_COUNT)

TRIM_BATCH = 256
"""Entries beyond the number to keep that one trim drops per partition: the server does nothing else meanwhile."""


class RedisEventLog:
    """Implements `EventLog`; `commit.lua` appends to it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, pool_id: str, after: Positions, limit: int) -> Sequence[EventEntry]:
        """See `EventLog.read`."""
        pages = await self._client.bulk(
            [
                plain("XRANGE", keys.events(pool_id, p), f"({after.get(p, START)}", "+", "COUNT", limit)
                for p in _PARTITIONS
            ]
        )
        return [_entry(partition, *row) for partition, page in enumerate(pages) for row in page]

    async def has(self, pool_id: str, positions: Positions) -> bool:
        """See `EventLog.has`."""
        asked = [scripts.EVENTS_HAS.on([keys.events(pool_id, p)], at) for p, at in positions.items()]
        return all(await self._client.bulk(asked)) if asked else True

    async def trim(self, pool_id: str, upto: Positions, keep: Keep) -> int:
        """See `EventLog.trim`."""
        trims = [
            scripts.EVENTS_TRIM.on(
                [keys.events(pool_id, p), keys.trimmed(pool_id, p)], upto[p], keep.since_ms, keep.newest, TRIM_BATCH
            )
            for p in sorted(upto)
        ]
        return sum(await self._client.bulk(trims)) if trims else 0

    async def trimmed(self, pool_id: str) -> Positions:
        """See `EventLog.trimmed`."""
        newest = await self._client.bulk([plain("GET", keys.trimmed(pool_id, p)) for p in _PARTITIONS])
        return {partition: entry_id.decode() for partition, entry_id in enumerate(newest) if entry_id}

    async def last(self, pool_id: str) -> Positions:
        """See `EventLog.last`."""
        newest = await self._client.bulk(
            [plain("XREVRANGE", keys.events(pool_id, p), "+", "-", "COUNT", 1) for p in _PARTITIONS]
        )
        return {partition: page[0][0].decode() for partition, page in enumerate(newest) if page}


def _entry(partition: int, entry_id: bytes, flat: list[Any]) -> EventEntry:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return EventEntry(
        partition=partition,
        entry_id=entry_id.decode(),
        decision=fields[b"d"],
        before=fields[b"b"],
        after=fields[b"a"],
        free_nusd=int(fields[b"f"]),
        recorded_ms=int(fields[b"t"]),
    )
