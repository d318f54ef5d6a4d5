"""What several converters share: files one by one, splits by file name, canonical columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bandit_router_sim.logs.canonical import full_log_of
from bandit_router_sim.logs.combine import concatenate
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import Column, Table

SPLITS = {"train": "train", "validation": "val", "val": "val", "dev": "dev", "holdout": "test", "test": "test"}

Reader = Callable[[Path, Findings], Table]


def log_of_files(paths: Sequence[PathLike], reader: Reader, *, name: str | None, on_bad: OnBad | None) -> FullLog:
    """One log of all files; `reader` gives each one's table in canonical columns."""
    if not paths:
        raise UnusableLog(name or "", "there is nothing to read")
    logs = []
    for path in map(Path, paths):
        findings = Findings(path)
        logs.append(full_log_of(reader(path, findings), findings, name=name or path.stem, on_bad=on_bad))
    return logs[0] if len(logs) == 1 else concatenate(logs, name=logs[0].name)


def split_of(path: Path) -> str:
    """The split that the file's name speaks of, such as val in validation-00000-of-00001.parquet; else ''."""
    words = path.stem.lower().replace("-", "_").replace(".", "_").split("_")
    return next((split for word, split in SPLITS.items() if word in words), "")


def canonical(read: Table, /, **columns: Column) -> Table:
    """A table of these columns, as long as `read` and from the same file."""
    return Table(read.file, read.length, columns, untyped=read.untyped)


def field_of(cells: Sequence[Any], key: str) -> list[Any]:
    """The values under `key` in a column of objects; None where a cell is no object or lacks it."""
    return [cell.get(key) if isinstance(cell, dict) else None for cell in cells]


def numbered(prefix: str, length: int) -> list[str]:
    """Ids for rows that have none: the prefix and the 1-based row."""
    return [f"{prefix}:{row}" for row in range(1, length + 1)]
