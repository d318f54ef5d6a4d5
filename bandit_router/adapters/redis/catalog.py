"""The catalog in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bandit_router.adapters.redis import keys, scripts
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import plain
from bandit_router.core.schema import FIRST_SCHEMA
from bandit_router.ports.catalog import (
    STAMPS_KEPT,
    Changes,
    Document,
    ImportUnfinished,
    Kind,
    SchemaTooNew,
    VersionConflict,
)

NOTICE_MS = 1_000
"""Time for replicas of older code to see that the schema was raised: they look for changes five times in it."""

_KINDS = frozenset(kind.value for kind in Kind)


class RedisCatalog:
    """Implements `Catalog`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def check_schema(self, version: int) -> None:
        """See `Catalog.check_schema`."""
        if await self._client.call(plain("EXISTS", keys.CATALOG_IMPORTING)):
            raise ImportUnfinished("an import is under way or was cut short; if so, empty the store and import again")
        await self._client.call(plain("SET", keys.CATALOG_SCHEMA, FIRST_SCHEMA, "NX"))
        stored = await self.schema()
        if stored > version:
            raise SchemaTooNew(f"the store needs schema version {stored}; this code knows up to {version}")

    async def schema(self) -> int:
        """See `Catalog.schema`."""
        return int(await self._client.call(plain("GET", keys.CATALOG_SCHEMA)) or 0)

    async def raise_schema(self, version: int) -> None:
        """See `Catalog.raise_schema`."""
        names = [keys.CATALOG_SCHEMA, keys.CATALOG_RAISING]
        remaining_ms = await self._client.call(scripts.SCHEMA_RAISE.on(names, version, NOTICE_MS))
        await asyncio.sleep(remaining_ms / 1000)

    async def get(self, kind: Kind, key: str) -> Document | None:
        """See `Catalog.get`."""
        stored = await self._client.call(plain("HGET", keys.documents(kind.value), key))
        return None if stored is None else _document(kind, key, stored)

    async def put(self, kind: Kind, key: str, body: bytes, *, expected_version: int) -> Document:
        """See `Catalog.put`."""
        command = scripts.CATALOG_PUT.on(_names(kind), key, _change(kind, key), expected_version, STAMPS_KEPT, body)
        done, version = await self._client.call(command)
        _check(kind, key, done, version, expected_version)
        return Document(kind, key, version, body)

    async def delete(self, kind: Kind, key: str, *, expected_version: int) -> bool:
        """See `Catalog.delete`."""
        command = scripts.CATALOG_DELETE.on(_names(kind), key, _change(kind, key), expected_version, STAMPS_KEPT)
        done, result = await self._client.call(command)
        _check(kind, key, done, result, expected_version)
        return bool(result)

    async def list(self, kind: Kind, *, prefix: str, after: str, limit: int) -> Sequence[Document]:
        """See `Catalog.list`."""
        names = [keys.documents(kind.value), keys.document_index(kind.value)]
        lower, upper = _bounds(prefix.encode(), after.encode())
        [flat] = await self._client.bulk([scripts.CATALOG_LIST.on(names, lower, upper, limit)])
        return [_document(kind, key.decode(), body) for key, body in zip(flat[::2], flat[1::2], strict=True)]

    async def changes(self, since: int, stamp: str | None = None) -> Changes:
        """See `Catalog.changes`."""
        names = [keys.CATALOG_VERSION, keys.CATALOG_CHANGES, keys.CATALOG_STAMPS, keys.CATALOG_SCHEMA]
        told = () if stamp is None else (stamp,)
        [found] = await self._client.bulk([scripts.CATALOG_CHANGES.on(names, since, *told)])
        version, its_stamp, continues, schema, members = found
        touched = tuple(_kind_and_key(member) for member in members if _is_known(member))
        return Changes(int(version), touched, int(schema), its_stamp.decode(), bool(continues))


def _names(kind: Kind) -> list[str]:
    return [
        keys.documents(kind.value),
        keys.document_index(kind.value),
        keys.CATALOG_VERSION,
        keys.CATALOG_CHANGES,
        keys.CATALOG_STAMPS,
    ]


def _change(kind: Kind, key: str) -> str:
    return f"{kind.value} {key}"


def _kind_and_key(member: bytes) -> tuple[Kind, str]:
    kind, _, key = member.decode().partition(" ")
    return Kind(kind), key


def _is_known(member: bytes) -> bool:
    """Whether it is of a kind that this code knows; newer code may have others."""
    return member.partition(b" ")[0].decode() in _KINDS


def _document(kind: Kind, key: str, stored: bytes) -> Document:
    version, _, body = stored.partition(b" ")
    return Document(kind, key, int(version), body)


def _check(kind: Kind, key: str, done: int, version: int, expected_version: int) -> None:
    if not done:
        raise VersionConflict(f"{kind.value} {key!r} is at version {version}, not {expected_version}")


def _bounds(prefix: bytes, after: bytes) -> tuple[bytes, bytes]:
    """Bounds for ZRANGEBYLEX. No UTF-8 text contains the byte 0xff."""
    lower = b"[" + prefix if after < prefix else b"(" + after
    return lower or b"-", b"(" + prefix + b"\xff"
