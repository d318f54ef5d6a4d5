"""The catalog in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import count

from bandit_router.core.schema import FIRST_SCHEMA
from bandit_router.ports.catalog import (
    ANY_VERSION,
    STAMPS_KEPT,
    Changes,
    Document,
    Kind,
    SchemaTooNew,
    VersionConflict,
)

_stamps = count(1)


class MemoryCatalog:
    """Implements `Catalog`."""

    def __init__(self) -> None:
        self._schema: int | None = None
        self._version = 0
        self._documents: dict[tuple[Kind, str], Document] = {}
        self._keys: dict[Kind, list[str]] = {kind: [] for kind in Kind}
        self._touched: dict[tuple[Kind, str], int] = {}
        self._stamps: dict[int, str] = {}

    async def check_schema(self, version: int) -> None:
        """See `Catalog.check_schema`."""
        if self._schema is None:
            self._schema = FIRST_SCHEMA
        if self._schema > version:
            raise SchemaTooNew(f"the store needs schema version {self._schema}; this code knows up to {version}")

    async def schema(self) -> int:
        """See `Catalog.schema`."""
        return self._schema or 0

    async def raise_schema(self, version: int) -> None:
        """See `Catalog.raise_schema`. There is no other code on this store that would have to be told."""
        self._schema = max(self._schema or 0, version)

    async def get(self, kind: Kind, key: str) -> Document | None:
        """See `Catalog.get`."""
        return self._documents.get((kind, key))

    async def put(self, kind: Kind, key: str, body: bytes, *, expected_version: int) -> Document:
        """See `Catalog.put`."""
        existed = self._check(kind, key, expected_version)
        document = Document(kind, key, self._touch(kind, key), body)
        if not existed:
            insort(self._keys[kind], key)
        self._documents[kind, key] = document
        return document

    async def delete(self, kind: Kind, key: str, *, expected_version: int) -> bool:
        """See `Catalog.delete`."""
        if not self._check(kind, key, expected_version):
            return False
        del self._documents[kind, key]
        self._keys[kind].remove(key)
        self._touch(kind, key)
        return True

    async def list(self, kind: Kind, *, prefix: str, after: str, limit: int) -> Sequence[Document]:
        """See `Catalog.list`."""
        keys = self._keys[kind]
        first = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
        page = (key for key in keys[first : first + limit] if key.startswith(prefix))
        return [self._documents[kind, key] for key in page]

    async def changes(self, since: int, stamp: str | None = None) -> Changes:
        """See `Catalog.changes`."""
        behind = sorted((version, *name) for name, version in self._touched.items() if version > since)
        names = tuple((kind, key) for _, kind, key in behind)
        continues = since == 0 or stamp is None or self._stamps.get(since, "") == stamp
        return Changes(self._version, names, self._schema or 0, self._stamps.get(self._version, ""), continues)

    def _check(self, kind: Kind, key: str, expected_version: int) -> bool:
        """Whether the document exists; raises VersionConflict unless it is at the expected version."""
        found = self._documents.get((kind, key))
        version = 0 if found is None else found.version
        if expected_version not in (ANY_VERSION, version):
            raise VersionConflict(f"{kind.value} {key!r} is at version {version}, not {expected_version}")
        return found is not None

    def _touch(self, kind: Kind, key: str) -> int:
        self._version += 1
        self._touched[kind, key] = self._version
        self._stamps[self._version] = str(next(_stamps))
        self._stamps.pop(self._version - STAMPS_KEPT, None)
        return self._version
