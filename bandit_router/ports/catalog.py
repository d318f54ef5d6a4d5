"""The catalog: configured resources as versioned documents, with a change feed for the replicas' caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Kind(Enum):
    """Kinds of documents. An arm's key is 'POOL ARM' (ids contain no spaces)."""

    POOL = "pool"
    ARM = "arm"
    PROJECTION = "projection"
    PRIOR = "prior"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document; `version` (from a counter shared by the whole catalog) serves as its etag."""

    kind: Kind
    key: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys touched since a version, and the version they lead to with its stamp: no two makings of a version share it.

    `schema`: that of the store, 0 if it bears none. `continues`: whether the catalog has come from the version and
    stamp that were asked about. If not, it came back without the last it had acknowledged (or was asked about a version
    long past), and must be read as a whole.
    """

    version: int
    keys: tuple[tuple[Kind, str], ...]
    schema: int
    stamp: str = ""
    continues: bool = True


class VersionConflict(Exception):
    """The document is not at the version that the caller had seen."""


class SchemaTooNew(Exception):
    """The store was written by newer code. `args[0]` says which schema version it needs."""


class ImportUnfinished(Exception):
    """An import into the store is under way, or was cut short: what is there is not whole."""


STAMPS_KEPT = 10_000
"""Latest versions whose stamps are remembered."""

ANY_VERSION = -1
ABSENT = 0


class Catalog(Protocol):
    """Documents by kind and key."""

    async def check_schema(self, version: int) -> None:
        """Raises SchemaTooNew if the store bears a higher version than this, ImportUnfinished.

        A store that bears none is marked with FIRST_SCHEMA: whoever stores what needs more raises it.
        """
        ...

    async def schema(self) -> int:
        """The version that the store bears, 0 if it bears none."""
        ...

    async def raise_schema(self, version: int) -> None:
        """Let the store bear at least `version`.

        Where there can be other replicas, it returns once those that read `changes` as often as they should have been
        told, also if it was another call that raised it.
        """
        ...

    async def get(self, kind: Kind, key: str) -> Document | None:
        """The document, or None."""
        ...

    async def put(self, kind: Kind, key: str, body: bytes, *, expected_version: int) -> Document:
        """Store a document. `expected_version`: ANY_VERSION, ABSENT (must not exist) or the version seen.

        Raises VersionConflict.
        """
        ...

    async def delete(self, kind: Kind, key: str, *, expected_version: int) -> bool:
        """Remove a document; False if there was none. Raises VersionConflict."""
        ...

    async def list(self, kind: Kind, *, prefix: str, after: str, limit: int) -> Sequence[Document]:
        """Documents whose key starts with `prefix` and sorts behind `after`, in key order."""
        ...

    async def changes(self, since: int, stamp: str | None = None) -> Changes:
        """What was put or deleted behind version `since`, and the schema version that the store bears by now; `stamp`
        is what came with `since`, None if that is not to be compared."""
        ...
