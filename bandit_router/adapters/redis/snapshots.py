"""Snapshots, dead letters and leases in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bandit_router.adapters.redis import keys, scripts
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import Argument, plain
from bandit_router.ports.events import EventEntry
from bandit_router.ports.snapshots import MAX_LETTERS, NO_LETTERS, DeadLetter, LetterChange, Snapshot, Stamp


class RedisSnapshots:
    """Implements `SnapshotStore`. A lease runs on the server's clock."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def acquire(self, pool_id: str, owner: str, ttl_ms: int) -> int | None:
        """See `SnapshotStore.acquire`."""
        command = scripts.LEASE_ACQUIRE.on([keys.lease(pool_id), keys.fence(pool_id)], owner, ttl_ms)
        token: int | None = await self._client.call(command)
        return token

    async def release(self, pool_id: str, owner: str) -> None:
        """See `SnapshotStore.release`."""
        await self._client.call(scripts.LEASE_RELEASE.on([keys.lease(pool_id)], owner))

    async def save(
        self, pool_id: str, token: int, snapshot: Snapshot, *, after: Stamp, letters: LetterChange = NO_LETTERS
    ) -> bool:
        """See `SnapshotStore.save`."""
        names = [keys.fence(pool_id), keys.snapshot(pool_id), keys.dead(pool_id)]
        change = [
            len(letters.remove),
            *letters.remove,
            *[arg for letter in letters.add for arg in _letter_args(letter)],
        ]
        stored: list[Argument] = [snapshot.version, snapshot.mark, snapshot.state]
        command = scripts.SNAPSHOT_SAVE.on(names, token, after.version, after.mark, *stored, MAX_LETTERS, *change)
        [done] = await self._client.bulk([command])
        return bool(done)

    async def stamp(self, pool_id: str) -> Stamp:
        """See `SnapshotStore.stamp`. A snapshot of older code bears no mark, or that of the one before it."""
        version, mark = await self._client.call(plain("HMGET", keys.snapshot(pool_id), "version", "mark"))
        return Stamp(int(version or 0), (mark or b"").decode())

    async def load(self, pool_id: str) -> Snapshot | None:
        """See `SnapshotStore.load`."""
        [found] = await self._client.bulk([plain("HMGET", keys.snapshot(pool_id), "version", "state", "mark")])
        version, state, mark = found
        return None if version is None else Snapshot(int(version), state, (mark or b"").decode())

    async def letters(self, pool_id: str, *, after_id: str, limit: int) -> Sequence[DeadLetter]:
        """See `SnapshotStore.letters`."""
        first = f"({after_id}" if after_id else "-"
        [page] = await self._client.bulk([plain("XRANGE", keys.dead(pool_id), first, "+", "COUNT", limit)])
        return [_letter(*row) for row in page]

    async def redrive(self, pool_id: str) -> None:
        """See `SnapshotStore.redrive`."""
        newest = await self._client.call(plain("XREVRANGE", keys.dead(pool_id), "+", "-", "COUNT", 1))
        if newest:
            await self._client.call(plain("SET", keys.redrive(pool_id), newest[0][0]))

    async def redriven(self, pool_id: str, limit: int) -> Sequence[DeadLetter]:
        """See `SnapshotStore.redriven`. Costs a tiny round trip when nothing was asked for."""
        last = await self._client.call(plain("GET", keys.redrive(pool_id)))
        if last is None:
            return []
        [page] = await self._client.bulk([plain("XRANGE", keys.dead(pool_id), "-", last, "COUNT", limit)])
        return [_letter(*row) for row in page]

    async def delete(self, pool_id: str) -> None:
        """See `SnapshotStore.delete`. The fence stays, so that no old token comes to life again."""
        names = [keys.snapshot(pool_id), keys.dead(pool_id), keys.redrive(pool_id)]
        await self._client.call(plain("DEL", *names))


def _letter_args(letter: DeadLetter) -> list[Argument]:
    """As `snapshot_save.lua` names them."""
    entry = letter.entry
    told: list[Argument] = [entry.partition, entry.entry_id, entry.decision, entry.before, entry.after]
    return [*told, entry.free_nusd, entry.recorded_ms, letter.reason, letter.died_ms, letter.tries]


def _letter(letter_id: bytes, flat: list[Any]) -> DeadLetter:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    entry = EventEntry(
        partition=int(fields[b"p"]),
        entry_id=fields[b"i"].decode(),
        decision=fields[b"d"],
        before=fields[b"b"],
        after=fields[b"a"],
        free_nusd=int(fields[b"f"]),
        recorded_ms=int(fields[b"t"]),
    )
    return DeadLetter(letter_id.decode(), entry, fields[b"why"].decode(), int(fields[b"at"]), int(fields[b"tries"]))
