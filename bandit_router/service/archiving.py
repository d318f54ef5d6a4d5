"""The whole state to a file and back. An import is checked to its last byte before anything is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import IO

from bandit_router.core.archive_codec import ArchiveReader, ArchiveTooNew, ArchiveWriter, CorruptArchive
from bandit_router.core.errors import Conflict, DataLoss, NotOffered, StateTooNewHere, StoreNotEmpty
from bandit_router.core.schema import FIRST_SCHEMA, SCHEMA_VERSION
from bandit_router.ports.archive import Archive, ArchiveBusy, Record, Shape, Tally
from bandit_router.ports.catalog import Catalog
from bandit_router.ports.clock import Clock
from bandit_router.ports.observer import Observer
from bandit_router.service.directory import Directory
from bandit_router.service.schema_watch import SchemaWatch

BATCH_RECORDS = 100
"""Records between two turns of the event loop."""


class ArchiveService:
    """Exports and imports. `archive` is None for a store that does not outlive its process."""

    def __init__(self, archive: Archive | None, catalog: Catalog, clock: Clock, observer: Observer) -> None:
        self._given = archive
        self._catalog = catalog
        self._clock = clock
        self._observer = observer

    async def schema(self) -> int:
        """The schema version that the store needs now."""
        return max(FIRST_SCHEMA, await self._catalog.schema())

    async def export(self, needed: int) -> AsyncIterator[bytes]:
        """The lines of the file, which says that it needs the version `needed`, as `schema` has told it.

        Raises NotOffered, and Conflict if the store never holds still or comes to need another version meanwhile.
        """
        writer = ArchiveWriter(needed, self._clock.now_ms())
        yield writer.first()
        try:
            async for record in self._archive.dump():
                yield writer.record([record.key.encode(), record.shape.value.encode(), record.value, record.expires_ms])
        except ArchiveBusy as fault:
            raise Conflict(f"{fault}; try again") from fault
        if (now := await self.schema()) != needed:
            raise Conflict(f"the state has come to need schema version {now} while it was read; try again")
        yield writer.last()

    async def take_in(self, file: IO[bytes], *, replace: bool, dry_run: bool) -> Tally:
        """Read the file from its beginning, twice: to check it and to write it. What is in it, counted.

        Raises NotOffered, DataLoss, StateTooNewHere, and StoreNotEmpty unless `replace`. Other servers on the store
        must be started again after a replacement: they know what was there before.
        """
        archive, tally, reader = self._archive, Tally(), ArchiveReader(SCHEMA_VERSION)
        async for batch in _batches(file, reader):
            for record in batch:
                tally = tally.plus(archive.tally(record))
        if not replace and not await archive.is_empty():
            raise StoreNotEmpty("the store has pools, tenants or money in it; replace them or import into an empty one")
        if dry_run:
            return tally
        await archive.begin()
        if reader.needed > FIRST_SCHEMA:
            await self._catalog.raise_schema(reader.needed)
        async for batch in _batches(file, ArchiveReader(SCHEMA_VERSION)):
            await archive.put(batch)
        await self._catalog.raise_schema(await self._needed())
        await archive.end()
        self._observer.note("state_imported", tenants=tally.tenants, decisions=tally.decisions, events=tally.events)
        return tally

    async def _needed(self) -> int:
        """What the catalog needs, whatever the file said: code from between two versions may have written it."""
        directory = Directory(self._catalog, SchemaWatch(self._observer))
        await directory.load()
        return directory.schema_needed()

    @property
    def _archive(self) -> Archive:
        if self._given is None:
            raise NotOffered("this store keeps nothing that outlives its process")
        return self._given


async def _batches(file: IO[bytes], reader: ArchiveReader) -> AsyncIterator[list[Record]]:
    """The records of a file, from its beginning. Raises DataLoss, StateTooNewHere."""
    records = _records(file, reader)
    while batch := list(islice(records, BATCH_RECORDS)):
        yield batch
        await asyncio.sleep(0)


def _records(file: IO[bytes], reader: ArchiveReader) -> Iterator[Record]:
    file.seek(0)
    try:
        for line in file:
            row = reader.read(line)
            if row is not None:
                yield _record(row)
    except CorruptArchive as fault:
        raise DataLoss(str(fault)) from None
    except ArchiveTooNew as fault:
        raise StateTooNewHere(str(fault)) from None
    if not reader.is_complete:
        raise DataLoss("the file ends before its last line")


def _record(row: list[object]) -> Record:
    """Raises CorruptArchive."""
    match row:
        case [bytes(key), bytes(shape), value, (int() | None) as expires_ms]:
            try:
                return Record(key.decode(), Shape(shape.decode()), value, expires_ms)
            except ValueError:
                raise CorruptArchive(f"record {key!r} has the unknown shape {shape!r}") from None
    raise CorruptArchive("a record has not the parts of one")
