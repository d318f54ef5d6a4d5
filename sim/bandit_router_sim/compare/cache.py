"""Results of finished runs on disk: one line of JSON per run, rewards and details per request in files of their own.

A run that was interrupted half-way through leaves either both or nothing that counts: the line is written last. A
line that is cut off at the end of the file, as a killed process leaves it, is ignored and the run done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Details = Mapping[str, npt.NDArray[np.float32 | np.int32]]

LINES = "runs.jsonl"
REWARDS = "rewards"
DETAILS = "details"


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A finished run: its row of the table, and the rewards (n,) of its reported requests in order.

    `details`: further arrays (n,) by name, for the few runs that keep them.
    """

    row: dict[str, Any]
    rewards: Float32Array
    details: Details = field(default_factory=dict)


class ResultCache:
    """The results kept in a directory, which is made. One process writes at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in (REWARDS, DETAILS):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self._rows = _read_lines(directory / LINES)

    def get(self, key: str) -> Finished | None:
        """The run of that key, if it was finished before."""
        row, path = self._rows.get(key), self._rewards_path(key)
        if row is None or not path.exists():
            return None
        return Finished(dict(row), np.load(path), self._load_details(key))

    def put(self, key: str, finished: Finished) -> None:
        """Keep a run."""
        np.save(self._rewards_path(key), finished.rewards)
        if finished.details:
            np.savez_compressed(self._details_path(key), allow_pickle=False, **finished.details)
        with (self._directory / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **finished.row}) + "\n")
        self._rows[key] = finished.row

    def _load_details(self, key: str) -> Details:
        path = self._details_path(key)
        if not path.exists():
            return {}
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def _details_path(self, key: str) -> Path:
        return self._directory / DETAILS / f"{key}.npz"

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
