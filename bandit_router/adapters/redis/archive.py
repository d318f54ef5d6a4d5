"""Everything in a Redis or Valkey, key by key.

A partition is read in one transaction, since its keys agree with each other at every moment only. Its events are left
out of that and read afterwards, in pages, up to the last one that the transaction saw. Learned states are read before:
the events that they lack are then in the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from bandit_router.adapters.redis import keys
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.link import Reply
from bandit_router.adapters.redis.scripts import Argument, Command, plain
from bandit_router.ports.archive import ArchiveBusy, Record, Shape, Tally
from bandit_router.ports.events import START

PAGE = 500
ATTEMPTS = 10
PUT_AT_ONCE = 200

_READS: dict[Shape, tuple[str, tuple[Argument, ...]]] = {
    Shape.STRING: ("GET", ()),
    Shape.HASH: ("HGETALL", ()),
    Shape.ZSET: ("ZRANGE", (0, -1, "WITHSCORES")),
    Shape.LIST: ("LRANGE", (0, -1)),
    Shape.STREAM: ("XRANGE", ("-", "+")),
}
_Shapes = Sequence[tuple[str, Shape]]


class RedisArchive:
    """Implements `Archive`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def dump(self) -> AsyncIterator[Record]:
        """See `Archive.dump`."""
        for slot, names in sorted((await self._slots()).items()):
            if not keys.is_partition(slot):
                for record in await self._read(slot, await self._shapes(names)):
                    yield record
        last: dict[str, bytes] = {}
        for slot, names in sorted((await self._slots()).items()):
            if keys.is_partition(slot):
                records, streams = await self._partition(slot, names)
                for record in records:
                    yield record
                last |= streams
        for name, entry_id in sorted(last.items()):
            async for record in self._stream(name, entry_id):
                yield record

    def tally(self, record: Record) -> Tally:
        """See `Archive.tally`."""
        match keys.kind_of(record.key):
            case "pool":
                return Tally(pools=len(record.value))
            case "arm":
                return Tally(arms=len(record.value))
            case "tenant":
                return Tally(tenants=len(record.value))
            case "decision":
                return Tally(decisions=1)
            case "events":
                return Tally(events=len(record.value[1]))
        return Tally()

    async def is_empty(self) -> bool:
        """See `Archive.is_empty`."""
        return not any(keys.kind_of(name) not in keys.FURNITURE for name in await self._client.scan())

    async def begin(self) -> None:
        """See `Archive.begin`. Fencing counters stay: no learner's old token may come to life again."""
        await self._client.call(plain("SET", keys.CATALOG_IMPORTING, 1))
        names = [name for name in await self._client.scan() if keys.kind_of(name) not in keys.NEVER_CLEARED]
        for start in range(0, len(names), PAGE):
            await self._client.bulk([plain("UNLINK", name) for name in names[start : start + PAGE]])

    async def put(self, records: Sequence[Record]) -> None:
        """See `Archive.put`."""
        for start in range(0, len(records), PUT_AT_ONCE):
            commands = [command for record in records[start : start + PUT_AT_ONCE] for command in _puts(record)]
            await self._client.bulk(commands)

    async def end(self) -> None:
        """See `Archive.end`."""
        await self._client.call(plain("DEL", keys.CATALOG_IMPORTING))

    async def _slots(self, pattern: str = "*") -> dict[str, list[str]]:
        """All keys but those of leases, by their slot."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in await self._client.scan(pattern):
            if keys.kind_of(name) not in keys.LEASES:
                found[keys.slot_of(name)].append(name)
        return found

    async def _partition(self, slot: str, names: Sequence[str]) -> tuple[list[Record], dict[str, bytes]]:
        """A partition as of one moment, and the last event of each of its streams. Raises ArchiveBusy."""
        for _ in range(ATTEMPTS):
            streams = [name for name in names if keys.kind_of(name) == "events"]
            shapes = await self._shapes([name for name in names if name not in streams])
            infos = [Command(("XINFO", "STREAM", name), name) for name in streams]
            replies = await self._transaction(slot, [*_reads(shapes), *infos])
            records = _records(shapes, replies)
            after = (await self._slots(f"{slot}:*")).get(slot, [])
            if not _is_torn(records) and not _has_new_account(names, after):
                told = [dict(zip(info[::2], info[1::2], strict=True)) for info in replies[2 * len(shapes) :]]
                return records, {n: info[b"last-generated-id"] for n, info in zip(streams, told, strict=True)}
            names = after
        raise ArchiveBusy(f"partition {slot} changes too fast to be read as of one moment")

    async def _read(self, slot: str, shapes: _Shapes) -> list[Record]:
        """The catalog, or what a pool has learned, as of one moment."""
        return _records(shapes, await self._transaction(slot, _reads(shapes)))

    async def _transaction(self, slot: str, commands: Sequence[Command]) -> list[Reply]:
        """What the commands answered at one moment."""
        if not commands:
            return []
        begin, execute = Command(("MULTI",), slot), Command(("EXEC",), slot)
        replies: list[Reply] = (await self._client.bulk([begin, *commands, execute]))[-1]
        return replies

    async def _shapes(self, names: Sequence[str]) -> _Shapes:
        kinds = await self._client.bulk([plain("TYPE", name) for name in names]) if names else []
        return [(name, Shape(kind.decode())) for name, kind in zip(names, kinds, strict=True) if kind != b"none"]

    async def _stream(self, name: str, last: bytes) -> AsyncIterator[Record]:
        """Pages of a stream up to its entry `last`; at least one, which says where it goes on."""
        first = "-"
        rows: list[Any] = []
        while first == "-" or len(rows) == PAGE:
            [rows] = await self._client.bulk([plain("XRANGE", name, first, last, "COUNT", PAGE)])
            if rows or first == "-":
                yield Record(name, Shape.STREAM, [last, rows])
            first = f"({rows[-1][0].decode()}" if rows else "("


def _reads(shapes: _Shapes) -> list[Command]:
    found = []
    for name, shape in shapes:
        command, args = _READS[shape]
        found += [plain(command, name, *args), plain("PEXPIRETIME", name)]
    return found


def _records(shapes: _Shapes, replies: Sequence[Reply]) -> list[Record]:
    found = []
    for number, (name, shape) in enumerate(shapes):
        value, expires_ms = replies[2 * number], replies[2 * number + 1]
        if not value:  # gone since the keys were listed
            continue
        if shape is Shape.STREAM:
            value = [value[-1][0], value]
        elif shape in (Shape.HASH, Shape.ZSET):
            value = [list(pair) for pair in zip(value[::2], value[1::2], strict=True)]
        found.append(Record(name, shape, value, None if expires_ms < 0 else expires_ms))
    return found


def _is_torn(records: Sequence[Record]) -> bool:
    """Whether a hold that stands has no decision here: it came after the keys had been listed."""
    present = {record.key for record in records}
    due = [member for record in records if keys.kind_of(record.key) == "due" for member, _ in record.value]
    return any(keys.decision_of_due(member.decode()) not in present for member in due)


def _has_new_account(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether keys came that money is kept in."""
    return any(keys.kind_of(name) in keys.MONEY for name in set(after) - set(before))


def _puts(record: Record) -> Iterator[Command]:
    key, value = record.key, record.value
    if record.shape is Shape.STREAM:
        yield from _stream_puts(key, *value)
    elif record.shape is Shape.STRING:
        yield plain("SET", key, value)
    elif record.shape is Shape.HASH:
        yield plain("HSET", key, *[part for pair in value for part in pair])
    elif record.shape is Shape.ZSET:
        yield plain("ZADD", key, *[part for member, score in value for part in (score, member)])
    else:
        yield plain("RPUSH", key, *value)
    if record.expires_ms is not None:
        yield plain("PEXPIREAT", key, record.expires_ms)


def _stream_puts(key: str, last: bytes, rows: Sequence[Any]) -> Iterator[Command]:
    """Entries under their ids; new ones will come behind `last`, also if no entry is left."""
    for entry_id, flat in rows:
        yield plain("XADD", key, entry_id, *flat)
    if not rows and last != START.encode():
        yield plain("XADD", key, last, "nothing", "")
        yield plain("XTRIM", key, "MAXLEN", 0)
