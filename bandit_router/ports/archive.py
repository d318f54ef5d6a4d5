"""The whole content of a store as records, to be written to a file and to be put back.

Only stores that outlive their process have an archive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


class Shape(Enum):
    """What a record's value looks like. Names and values are bytes, scores are numbers."""

    STRING = "string"
    """The value."""
    HASH = "hash"
    """[[name, value], …]"""
    ZSET = "zset"
    """[[member, score], …]"""
    LIST = "list"
    """[value, …]"""
    STREAM = "stream"
    """[last id, [[id, [name, value, …]], …]]: a page of it; the pages of a key come one after the other."""


@dataclass(frozen=True, slots=True)
class Record:
    """One key. `expires_ms`: when it may be forgotten; None: never."""

    key: str
    shape: Shape
    value: Any
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How much there is of what operators ask for."""

    pools: int = 0
    arms: int = 0
    tenants: int = 0
    decisions: int = 0
    events: int = 0

    def plus(self, other: Tally) -> Tally:
        """The sum of both."""
        return Tally(
            self.pools + other.pools,
            self.arms + other.arms,
            self.tenants + other.tenants,
            self.decisions + other.decisions,
            self.events + other.events,
        )


class ArchiveBusy(Exception):
    """The store changes faster than it can be read as of one moment; it is safe to try again."""


class Archive(Protocol):
    """Reads and writes everything that a store keeps."""

    def dump(self) -> AsyncIterator[Record]:
        """All records. What belongs to one tenant is as of one moment: money, holds and decisions agree. The events
        are those up to that moment, and the learned state is not ahead of them. Raises ArchiveBusy."""
        ...

    def tally(self, record: Record) -> Tally:
        """What the record counts as."""
        ...

    async def is_empty(self) -> bool:
        """Whether nothing is configured or booked."""
        ...

    async def begin(self) -> None:
        """Empty the store, and mark it so that no server starts on it before `end`."""
        ...

    async def put(self, records: Sequence[Record]) -> None:
        """Write records as they were dumped, in their order. Between `begin` and `end` only."""
        ...

    async def end(self) -> None:
        """Take the mark away."""
        ...
