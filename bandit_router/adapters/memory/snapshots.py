"""Snapshots, dead letters and leases in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bandit_router.ports.clock import Clock
from bandit_router.ports.snapshots import (
    MAX_LETTERS,
    NO_LETTERS,
    NO_SNAPSHOT,
    DeadLetter,
    LetterChange,
    Snapshot,
    Stamp,
)


@dataclass(slots=True)
class _Lease:
    owner: str = ""
    expires_ms: int = 0
    token: int = 0


@dataclass(slots=True)
class _Letters:
    kept: deque[DeadLetter] = field(default_factory=lambda: deque(maxlen=MAX_LETTERS))
    count: int = 0
    asked: int = 0

    def change(self, change: LetterChange) -> None:
        if change.remove:
            left = [letter for letter in self.kept if letter.letter_id not in change.remove]
            self.kept = deque(left, maxlen=MAX_LETTERS)
        for letter in change.add:
            self.count += 1
            self.kept.append(replace(letter, letter_id=f"{self.count}-0"))


class MemorySnapshots:
    """Implements `SnapshotStore`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._letters: dict[str, _Letters] = {}

    async def acquire(self, pool_id: str, owner: str, ttl_ms: int) -> int | None:
        """See `SnapshotStore.acquire`."""
        lease = self._leases.setdefault(pool_id, _Lease())
        now_ms = self._clock.now_ms()
        stands = bool(lease.owner) and lease.expires_ms > now_ms
        if stands and lease.owner != owner:
            return None
        if not stands:
            lease.token += 1
        lease.owner, lease.expires_ms = owner, now_ms + ttl_ms
        return lease.token

    async def release(self, pool_id: str, owner: str) -> None:
        """See `SnapshotStore.release`."""
        lease = self._leases.get(pool_id)
        if lease is not None and lease.owner == owner:
            lease.owner = ""

    async def save(
        self, pool_id: str, token: int, snapshot: Snapshot, *, after: Stamp, letters: LetterChange = NO_LETTERS
    ) -> bool:
        """See `SnapshotStore.save`."""
        lease = self._leases.get(pool_id)
        if lease is None or lease.token != token:
            return False
        if await self.stamp(pool_id) != after:
            return False
        self._snapshots[pool_id] = snapshot
        if letters != NO_LETTERS:
            self._letters.setdefault(pool_id, _Letters()).change(letters)
        return True

    async def stamp(self, pool_id: str) -> Stamp:
        """See `SnapshotStore.stamp`."""
        stored = self._snapshots.get(pool_id)
        return NO_SNAPSHOT if stored is None else stored.stamp

    async def load(self, pool_id: str) -> Snapshot | None:
        """See `SnapshotStore.load`."""
        return self._snapshots.get(pool_id)

    async def letters(self, pool_id: str, *, after_id: str, limit: int) -> Sequence[DeadLetter]:
        """See `SnapshotStore.letters`."""
        kept = self._letters.get(pool_id, _Letters()).kept
        return [letter for letter in kept if _number(letter.letter_id) > _number(after_id)][:limit]

    async def redrive(self, pool_id: str) -> None:
        """See `SnapshotStore.redrive`."""
        letters = self._letters.get(pool_id)
        if letters is not None:
            letters.asked = letters.count

    async def redriven(self, pool_id: str, limit: int) -> Sequence[DeadLetter]:
        """See `SnapshotStore.redriven`."""
        letters = self._letters.get(pool_id, _Letters())
        return [letter for letter in letters.kept if _number(letter.letter_id) <= letters.asked][:limit]

    async def delete(self, pool_id: str) -> None:
        """See `SnapshotStore.delete`."""
        self._snapshots.pop(pool_id, None)
        self._letters.pop(pool_id, None)


def _number(letter_id: str) -> int:
    return int(letter_id.partition("-")[0] or 0)
