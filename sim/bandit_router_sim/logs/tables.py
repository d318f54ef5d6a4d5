"""Rows of a file as columns, before anything is known about their meaning: parquet, JSONL, JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, PathLike
from bandit_router_sim.logs.full import FloatArray

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_CSV_CELL_CHARS = 16 * 1024 * 1024
ONE_OBJECT_A_LINE = "a line holds one JSON object, in UTF-8"
AS_MANY_CELLS = "a row has as many cells as the header"

Wants = Callable[[str], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A column of floats: `values` (n,), and where the file has none (`missing` (n,)), which is not the same as NaN."""

    values: FloatArray
    missing: npt.NDArray[np.bool_]


Column = Cells | list[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """`length` rows of a file in its order; None is a null. `untyped`: every cell is text and '' is a null (CSV)."""

    file: str
    length: int
    columns: dict[str, Column]
    untyped: bool = field(default=False, kw_only=True)

    def objects(self, column: str) -> list[Any]:
        """The column as Python values; all None where there is no such column."""
        cells = self.columns.get(column)
        if cells is None:
            return [None] * self.length
        if isinstance(cells, Cells):
            pairs = zip(cells.values.tolist(), cells.missing.tolist(), strict=True)
            return [None if missing else value for value, missing in pairs]
        return cells


def read_table(path: PathLike, findings: Findings, *, wants: Wants = lambda _: True) -> Table:
    """The columns that `wants` says yes to. The format goes by the name's ending.

    Rows that cannot be read are noted in `findings` and keep their place, filled with nulls. Raises UnusableLog where
    the file as a whole cannot be read, FileNotFoundError where there is none.
    """
    path = Path(path)
    if (reader := _READERS.get(path.suffix.lower())) is None:
        raise UnusableLog(str(path), f"unknown ending {path.suffix!r}; known are {', '.join(_READERS)}")
    return reader(path, findings, wants)


def read_parquet_columns(path: PathLike, columns: Sequence[str]) -> Table:
    """The columns of a parquet file; 'a.b' is the field b of the struct a."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read(columns=list(columns))
    except pa.ArrowException as error:
        raise UnusableLog(str(path), f"not readable as parquet: {error}") from error
    return Table(str(path), table.num_rows, {name: _of_arrow(table[name]) for name in table.column_names})


def parquet_schema(path: PathLike) -> Any:
    """The Arrow schema of a parquet file. Raises UnusableLog where it is none or names a column twice."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.ParquetFile(path).schema_arrow
    except pa.ArrowException as error:
        raise UnusableLog(str(path), f"not readable as parquet: {error}") from error
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise UnusableLog(str(path), f"column {twice[0]!r} occurs twice")
    return schema


def _read_parquet(path: Path, findings: Findings, wants: Wants) -> Table:
    del findings
    names = [name for name in parquet_schema(path).names if wants(name)]
    table = read_parquet_columns(path, names)
    return Table(table.file, table.length, {name: table.columns[name] for name in names})


def _of_arrow(column: Any) -> Column:
    """Floats as an array; everything else as Python values."""
    import pyarrow as pa

    if not (pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        return list(column.to_pylist())
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    return Cells(values, np.asarray(column.is_null().to_numpy(), dtype=np.bool_))


def _read_jsonl(path: Path, findings: Findings, wants: Wants) -> Table:
    return _of_objects(path, (_object(line) for line in _lines(path)), findings, wants)


def _read_json(path: Path, findings: Findings, wants: Wants) -> Table:
    """A JSON array of objects; anything else is read as JSONL."""
    with path.open("rb") as file:
        is_array = file.read(1024).lstrip()[:1] == b"["
    if not is_array:
        return _read_jsonl(path, findings, wants)
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnusableLog(str(path), f"not readable as JSON: {error}") from error
    return _of_objects(path, (row if isinstance(row, dict) else None for row in rows), findings, wants)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines without those that are blank at the end of the file. One beyond the limit comes in pieces: bad rows."""
    blank = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if not line.strip():
                blank += 1
                continue
            yield from [b""] * blank
            blank = 0
            yield line


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None if it is none."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _of_objects(path: Path, rows: Iterator[dict[str, Any] | None], findings: Findings, wants: Wants) -> Table:
    columns: dict[str, list[Any]] = {}
    length = bad = 0
    for row in rows:
        if row is None:
            findings.add(length + 1, "", ONE_OBJECT_A_LINE)
            bad += 1
        for name, value in (row or {}).items():
            if name not in columns and wants(name):
                columns[name] = [None] * length
            if name in columns:
                columns[name].append(value)
        length += 1
        for cells in columns.values():
            cells.extend([None] * (length - len(cells)))
    if length and bad == length:
        raise UnusableLog(str(path), f"none of its {length} rows is a JSON object in UTF-8")
    return Table(str(path), length, dict(columns))


def _read_csv(path: Path, findings: Findings, wants: Wants) -> Table:
    limit = csv.field_size_limit(MAX_CSV_CELL_CHARS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _of_csv(path, csv.reader(file, strict=True), findings, wants)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnusableLog(str(path), f"not readable as CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _of_csv(path: Path, rows: Iterator[list[str]], findings: Findings, wants: Wants) -> Table:
    header = next(rows, [])
    if twice := [name for name in header if header.count(name) > 1]:
        raise UnusableLog(str(path), f"column {twice[0]!r} occurs twice")
    columns: dict[str, list[Any]] = {name: [] for name in header if wants(name)}
    length = 0
    for row in rows:
        length += 1
        if len(row) != len(header):
            findings.add(length, "", AS_MANY_CELLS, str(len(row)))
            row = [""] * len(header)
        for name, value in zip(header, row, strict=True):
            if name in columns:
                columns[name].append(value)
    return Table(str(path), length, dict(columns), untyped=True)


_READERS = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
}
