from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.core.errors import Conflict, DataLoss, NotOffered, StoreNotEmpty
from bandit_router.ports.archive import ArchiveBusy, Record, Shape, Tally
from bandit_router.ports.catalog import Catalog
from bandit_router.service.archiving import BATCH_RECORDS, ArchiveService
from tests.unit.service.worlds import Recorder, open_world


@dataclass
class Shelf:
    """An archive of records in a list, and what was done to it."""

    records: list[Record] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    is_busy: bool = False

    async def dump(self) -> AsyncIterator[Record]:
        for record in self.records:
            yield record
        if self.is_busy:
            raise ArchiveBusy("it changes")

    def tally(self, record: Record) -> Tally:
        return Tally(decisions=1)

    async def is_empty(self) -> bool:
        return not self.records

    async def begin(self) -> None:
        self.done.append("begin")
        self.records.clear()

    async def put(self, records: Sequence[Record]) -> None:
        self.done.append(f"put {len(records)}")
        self.records += records

    async def end(self) -> None:
        self.done.append("end")


def service(shelf: Shelf | None, catalog: Catalog | None = None) -> ArchiveService:
    clock = ManualClock()
    return ArchiveService(shelf, catalog or MemoryStore(clock).catalog, clock, Recorder())


def stock(count: int) -> list[Record]:
    return [Record(f"k{n}", Shape.HASH, [[b"name", b"\xff"]], None if n % 2 else n) for n in range(count)]


async def exported(shelf: Shelf) -> io.BytesIO:
    return io.BytesIO(b"".join([line async for line in service(shelf).export(1)]))


async def test_every_record_of_an_export_is_put_in_order_between_begin_and_end() -> None:
    count = 2 * BATCH_RECORDS + 1
    file, target = await exported(Shelf(stock(count))), Shelf()
    tally = await service(target).take_in(file, replace=False, dry_run=False)
    assert target.records == stock(count)
    assert target.done == ["begin", f"put {BATCH_RECORDS}", f"put {BATCH_RECORDS}", "put 1", "end"]
    assert tally == Tally(decisions=count)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_nothing_is_touched_before_the_last_byte_was_checked(*, dry_run: bool) -> None:
    data = (await exported(Shelf(stock(300)))).getvalue()
    target = Shelf(stock(1))
    for bad in (data[:-2], data[:-20], data.replace(b"k299", b"k298")):
        with pytest.raises(DataLoss):
            await service(target).take_in(io.BytesIO(bad), replace=True, dry_run=dry_run)
    assert (target.records, target.done) == (stock(1), [])


async def test_a_dry_run_counts_and_changes_nothing() -> None:
    target = Shelf()
    file = await exported(Shelf(stock(3)))
    assert await service(target).take_in(file, replace=False, dry_run=True) == Tally(decisions=3)
    assert target.done == []


async def test_what_is_there_is_dropped_only_when_asked_for() -> None:
    target, file = Shelf(stock(5)), await exported(Shelf(stock(2)))
    with pytest.raises(StoreNotEmpty):
        await service(target).take_in(file, replace=False, dry_run=False)
    assert target.done == []
    await service(target).take_in(file, replace=True, dry_run=False)
    assert target.records == stock(2)


async def test_a_store_that_never_holds_still_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="try again"):
        await exported(Shelf(stock(1), is_busy=True))


async def test_a_file_says_what_its_content_needs_and_the_store_that_takes_it_in_bears_it() -> None:
    catalog = MemoryStore(ManualClock()).catalog
    for version in (1, 2):
        await catalog.raise_schema(version)
        archives = service(Shelf(stock(3)), catalog)
        assert await archives.schema() == version
        file = io.BytesIO(b"".join([line async for line in archives.export(version)]))
        assert f'"schema_version":{version},'.encode() in file.readline()
        target = MemoryStore(ManualClock()).catalog
        await service(Shelf(), target).take_in(file, replace=False, dry_run=True)
        assert await target.schema() == 0
        await service(Shelf(), target).take_in(file, replace=False, dry_run=False)
        assert await target.schema() == version


async def test_an_export_that_newer_content_came_into_is_made_again() -> None:
    catalog = MemoryStore(ManualClock()).catalog
    await catalog.raise_schema(2)
    with pytest.raises(Conflict, match="come to need schema version 2"):
        _ = [line async for line in service(Shelf(stock(1)), catalog).export(1)]


async def test_a_store_in_memory_offers_no_export() -> None:
    world = await open_world()
    with pytest.raises(NotOffered):
        _ = [line async for line in world.services.archives.export(1)]
