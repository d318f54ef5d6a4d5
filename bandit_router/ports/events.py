"""The event log of a pool: decisions joined with their outcomes, in one stream per partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Positions = Mapping[int, str]
"""Per partition, the id of the last entry that was read ('0-0' or absent: none). Ids are 'milliseconds-sequence'."""

START = "0-0"
"""The position before the first entry."""


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One commit: the decision, its outcome before and after (encoded), what was free at its hold, and when."""

    partition: int
    entry_id: str
    decision: bytes
    before: bytes
    after: bytes
    free_nusd: int
    recorded_ms: int


@dataclass(frozen=True, slots=True)
class Keep:
    """What a trim spares: entries whose id's time is at or past `since_ms`, but no more than the `newest` ones of each
    partition."""

    since_ms: int
    newest: int


KEEP_NOTHING = Keep(since_ms=2**53, newest=0)


class EventLog(Protocol):
    """Entries are appended by `Ledger.commit` only."""

    async def read(self, pool_id: str, after: Positions, limit: int) -> Sequence[EventEntry]:
        """Entries behind `after`, in order within each partition, at most `limit` per partition."""
        ...

    async def has(self, pool_id: str, positions: Positions) -> bool:
        """Whether there is an entry at each of these positions. What was read once may be gone: a store that comes
        back without the last it had acknowledged has lost it."""
        ...

    async def trim(self, pool_id: str, upto: Positions, keep: Keep) -> int:
        """Drop entries at or before `upto` that are not to be kept; how many were dropped.

        Only ever called for positions that a stored snapshot contains, or for a deleted pool. What is too many may be
        dropped over several calls.
        """
        ...

    async def trimmed(self, pool_id: str) -> Positions:
        """Per partition in which entries were dropped the newest of them: whoever stands before it has missed some."""
        ...

    async def last(self, pool_id: str) -> Positions:
        """Per non-empty partition the id of its newest entry."""
        ...


def is_before(position: str, other: str) -> bool:
    """Whether one position comes before another in its partition."""
    return _parsed(position) < _parsed(other)


def _parsed(entry_id: str) -> tuple[int, int]:
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence)
