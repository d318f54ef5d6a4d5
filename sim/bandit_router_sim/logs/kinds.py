"""Which kind of log a file is, from its first row or its schema."""

from __future__ import annotations

import json
from pathlib import Path

from bandit_router_sim.logs.findings import PathLike
from bandit_router_sim.logs.tables import parquet_schema

_OF_EVENTS = {"decision_id", "arms"}


def is_decision_log(path: PathLike) -> bool:
    """Whether it holds the service's events. A file that cannot be told is none; its reader will say what is wrong."""
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        return set(parquet_schema(path).names) >= _OF_EVENTS
    return path.suffix.lower() == ".jsonl" and _first_keys(path) >= _OF_EVENTS


def _first_keys(path: Path) -> set[str]:
    with path.open("rb") as lines:
        line = lines.readline()
    try:
        row = json.loads(line)
    except ValueError:
        return set()
    return set(row) if isinstance(row, dict) else set()
