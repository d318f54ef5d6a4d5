"""The event log in Redis: a stream per pool and partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bandit_router.adapters.redis import keys
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import plain
from bandit_router.core.partition import PARTITION_COUNT
from bandit_router.ports.events import EventEntry, Positions

_PARTITIONS = range(PARTITION_COUNT)


class RedisEventLog:
    """Implements `EventLog`; `commit.lua` appends to it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, pool_id: str, after: Positions, limit: int) -> Sequence[EventEntry]:
        """See `EventLog.read`."""
        pages = await self._client.bulk(
            [
                plain("XRANGE", keys.events(pool_id, p), f"({after.get(p, '0-0')}", "+", "COUNT", limit)
                for p in _PARTITIONS
            ]
        )
        return [_entry(partition, *row) for partition, page in enumerate(pages) for row in page]

    async def trim(self, pool_id: str, upto: Positions) -> None:
        """See `EventLog.trim`."""
        trims = [plain("XTRIM", keys.events(pool_id, p), "MINID", "=", _next(upto[p])) for p in sorted(upto)]
        if trims:
            await self._client.bulk(trims)

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


def _next(entry_id: str) -> str:
    """The smallest id behind `entry_id`."""
    ms, _, sequence = entry_id.partition("-")
    return f"{ms}-{int(sequence) + 1}"
