"""Results of finished runs on disk: one line of JSON per run, its rewards per request in a file of their own.

A run that was interrupted half-way through leaves either both or nothing that counts: the line is written last. A
line that is cut off at the end of the file, as a killed process leaves it, is ignored and the run done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

LINES = "runs.jsonl"
REWARDS = "rewards"


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A finished run: its row of the table, and the rewards (n,) of its reported requests in order."""

    row: dict[str, Any]
    rewards: Float32Array


class ResultCache:
    """The results kept in a directory, which is made. One process writes at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / REWARDS).mkdir(parents=True, exist_ok=True)
        self._rows = _read_lines(directory / LINES)

    def get(self, key: str) -> Finished | None:
        """The run of that key, if it was finished before."""
        row, path = self._rows.get(key), self._rewards_path(key)
        if row is None or not path.exists():
            return None
        return Finished(dict(row), np.load(path))

    def put(self, key: str, finished: Finished) -> None:
        """Keep a run."""
        np.save(self._rewards_path(key), finished.rewards)
        with (self._directory / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **finished.row}) + "\n")
        self._rows[key] = finished.row

    def _rewards_path(self, key: str) -> Path:
        return self._directory / REWARDS / f"{key}.npy"


def _read_lines(path: Path) -> dict[str, Mapping[str, Any]]:
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    rows = [json.loads(line) for line in whole.splitlines()]
    return {row.pop("key"): row for row in rows}
