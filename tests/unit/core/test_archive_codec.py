from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.archive_codec import ArchiveReader, ArchiveTooNew, ArchiveWriter, CorruptArchive
from tests.builders import FEW

leaves = st.binary(max_size=20) | st.integers(-(2**63), 2**63) | st.none() | st.floats(allow_nan=False, width=32)
rows = st.lists(st.lists(leaves | st.lists(leaves, max_size=3), max_size=4), max_size=4)


def written(records: list[Any], schema_version: int = 1) -> list[bytes]:
    writer = ArchiveWriter(schema_version, 1_000)
    return [writer.first(), *(writer.record(row) for row in records), writer.last()]


def read(lines: list[bytes]) -> list[Any]:
    reader = ArchiveReader(schema_version=1)
    found = [row for line in lines if (row := reader.read(line)) is not None]
    assert reader.is_complete
    return found


@FEW
@given(rows.filter(lambda found: all(row != float("inf") for row in found)))
def test_records_come_back_as_they_were(records: list[Any]) -> None:
    finite = [[x for x in row if x not in (float("inf"), float("-inf"))] for row in records]
    if "inf" in repr(finite):
        return
    assert read(written(finite)) == finite


def test_bytes_and_texts_are_told_apart() -> None:
    assert read(written([[b"b", b"\xff\x00", b"", "tü".encode()]])) == [[b"b", b"\xff\x00", b"", "tü".encode()]]


def test_any_line_that_was_changed_lost_or_moved_is_noticed() -> None:
    lines = written([[b"one", 1], [b"two", 2], [b"three", 3]])
    changed = [*lines[:2], lines[2].replace(b"2", b"7"), *lines[3:]]
    for bad in (changed, lines[:1] + lines[2:], [lines[0], lines[2], lines[1], *lines[3:]]):
        with pytest.raises(CorruptArchive, match="checksum"):
            read(bad)
    with pytest.raises(CorruptArchive, match="behind"):
        read([*lines, lines[1]])
    for bad in ([b"\xff\n"], [b"[]\n"], [b'{"format":"other"}\n'], lines[1:]):
        with pytest.raises(CorruptArchive):
            read(bad)


@pytest.mark.parametrize("record", [b'["x"]\n', b'["b?"]\n', b'[""]\n'])
def test_bytes_that_are_none_are_noticed(record: bytes) -> None:
    with pytest.raises(CorruptArchive, match="bytes"):
        read([written([])[0], record])


def test_a_newer_file_is_refused_by_the_version_it_needs() -> None:
    with pytest.raises(ArchiveTooNew, match="schema_version 2"):
        read(written([], schema_version=2))
    with pytest.raises(ArchiveTooNew, match="version 9"):
        read([written([])[0].replace(b'"version":1', b'"version":9')])
