"""Learned state of pools, the events that could not be learned, and the lease that lets one learner at a time write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bandit_router.ports.events import EventEntry

MAX_LETTERS = 10_000
"""Dead letters kept per pool; beyond that the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Names one stored snapshot: its version, and a mark that no writer gives twice.

    A version alone does not: a store that comes back without the last it had acknowledged (a power cut, a fail-over)
    gives the same ones out again.
    """

    version: int = 0
    mark: str = ""


NO_SNAPSHOT = Stamp()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Encoded pool state at a version."""

    version: int
    state: bytes
    mark: str = ""

    @property
    def stamp(self) -> Stamp:
        """What it is told from others by."""
        return Stamp(self.version, self.mark)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be learned: why, when, and how often it was tried. Ids grow; '' before it is stored."""

    letter_id: str
    entry: EventEntry
    reason: str
    died_ms: int
    tries: int


@dataclass(frozen=True, slots=True)
class LetterChange:
    """Dead letters that come and (by id) go together with a snapshot."""

    add: tuple[DeadLetter, ...] = ()
    remove: tuple[str, ...] = ()


NO_LETTERS = LetterChange()


class SnapshotStore(Protocol):
    """Snapshots, dead letters and their learner's lease, per pool."""

    async def acquire(self, pool_id: str, owner: str, ttl_ms: int) -> int | None:
        """Take or renew the lease: its fencing token, or None while another owner has it.

        The token grows with every change of owner and stays the same on renewal.
        """
        ...

    async def release(self, pool_id: str, owner: str) -> None:
        """Give the lease up, if `owner` has it."""
        ...

    async def save(
        self, pool_id: str, token: int, snapshot: Snapshot, *, after: Stamp, letters: LetterChange = NO_LETTERS
    ) -> bool:
        """Store a snapshot made from the one named `after` (NO_SNAPSHOT: from nothing), and the change of dead letters.

        False (nothing stored) if `token` has been superseded or another snapshot than `after` is stored.
        """
        ...

    async def stamp(self, pool_id: str) -> Stamp:
        """Which snapshot is stored; NO_SNAPSHOT if there is none."""
        ...

    async def load(self, pool_id: str) -> Snapshot | None:
        """The stored snapshot."""
        ...

    async def letters(self, pool_id: str, *, after_id: str, limit: int) -> Sequence[DeadLetter]:
        """Dead letters behind `after_id` ('' for the first), oldest first."""
        ...

    async def redrive(self, pool_id: str) -> None:
        """Ask for all present dead letters to be tried again."""
        ...

    async def redriven(self, pool_id: str, limit: int) -> Sequence[DeadLetter]:
        """Dead letters that were asked to be tried again, oldest first. Whoever tries one removes it, and adds it
        anew if it fails."""
        ...

    async def delete(self, pool_id: str) -> None:
        """Forget a pool's snapshot and dead letters."""
        ...
