"""The event log in memory: one list per pool and partition."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bandit_router.ports.events import START, EventEntry, Keep, Positions

_Position = tuple[int, int]


@dataclass(slots=True)
class _Stream:
    entries: list[EventEntry] = field(default_factory=list)
    newest: _Position = (0, 0)
    trimmed: str = ""


class MemoryEventLog:
    """Implements `EventLog`; the ledger appends to it."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[int, _Stream]] = defaultdict(lambda: defaultdict(_Stream))

    def append(
        self, pool_id: str, partition: int, *, decision: bytes, before: bytes, after: bytes, free_nusd: int, now_ms: int
    ) -> None:
        """Add an entry behind the newest one of its stream."""
        stream = self._pools[pool_id][partition]
        ms, sequence = stream.newest
        stream.newest = (now_ms, 0) if now_ms > ms else (ms, sequence + 1)
        entry_id = f"{stream.newest[0]}-{stream.newest[1]}"
        stream.entries.append(EventEntry(partition, entry_id, decision, before, after, free_nusd, now_ms))

    async def read(self, pool_id: str, after: Positions, limit: int) -> Sequence[EventEntry]:
        """See `EventLog.read`."""
        found: list[EventEntry] = []
        for partition, stream in sorted(self._pools.get(pool_id, {}).items()):
            first = _count_upto(stream, after.get(partition, START))
            found += stream.entries[first : first + limit]
        return found

    async def has(self, pool_id: str, positions: Positions) -> bool:
        """See `EventLog.has`."""
        streams = self._pools.get(pool_id, {})
        return all(partition in streams and _has(streams[partition], at) for partition, at in positions.items())

    async def trim(self, pool_id: str, upto: Positions, keep: Keep) -> int:
        """See `EventLog.trim`."""
        streams = self._pools.get(pool_id, {})
        return sum(_trim(streams[partition], upto[partition], keep) for partition in streams.keys() & upto.keys())

    async def trimmed(self, pool_id: str) -> Positions:
        """See `EventLog.trimmed`."""
        streams = self._pools.get(pool_id, {})
        return {partition: stream.trimmed for partition, stream in streams.items() if stream.trimmed}

    async def last(self, pool_id: str) -> Positions:
        """See `EventLog.last`."""
        streams = self._pools.get(pool_id, {})
        return {partition: stream.entries[-1].entry_id for partition, stream in streams.items() if stream.entries}


def _trim(stream: _Stream, upto: str, keep: Keep) -> int:
    old = bisect_left(stream.entries, (keep.since_ms, 0), key=_position)
    too_many = len(stream.entries) - keep.newest
    count = min(_count_upto(stream, upto), max(old, too_many))
    if count <= 0:
        return 0
    stream.trimmed = stream.entries[count - 1].entry_id
    del stream.entries[:count]
    return count


def _count_upto(stream: _Stream, entry_id: str) -> int:
    """How many entries of the stream are at or before `entry_id`."""
    position = _parse(entry_id)
    if position >= stream.newest:
        return len(stream.entries)
    return bisect_right(stream.entries, position, key=_position)


def _has(stream: _Stream, entry_id: str) -> bool:
    count = _count_upto(stream, entry_id)
    return count > 0 and stream.entries[count - 1].entry_id == entry_id


def _position(entry: EventEntry) -> _Position:
    return _parse(entry.entry_id)


def _parse(entry_id: str) -> _Position:
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence)
