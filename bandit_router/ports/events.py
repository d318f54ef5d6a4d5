"""The event log of a pool: decisions joined with their outcomes, in one stream per partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Positions = Mapping[int, str]
"""Per partition, the id of the last entry that was read ('0-0' or absent: none). Ids are 'milliseconds-sequence'."""


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


class EventLog(Protocol):
    """Entries are appended by `Ledger.commit` only."""

    async def read(self, pool_id: str, after: Positions, limit: int) -> Sequence[EventEntry]:
        """Entries behind `after`, in order within each partition, at most `limit` per partition."""
        ...

    async def trim(self, pool_id: str, upto: Positions) -> None:
        """Drop entries at or before `upto`; only ever called for positions that a stored snapshot contains, or for a
        deleted pool."""
        ...

    async def last(self, pool_id: str) -> Positions:
        """Per non-empty partition the id of its newest entry."""
        ...
