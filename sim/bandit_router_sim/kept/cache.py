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
        row = self._rows.get(key)
        arrays = kept_arrays(self._directory, key) if row is not None else None
        return Finished(dict(row), *arrays) if row is not None and arrays is not None else None

    def put(self, key: str, finished: Finished) -> None:
        """Keep a run."""
        np.save(_rewards_path(self._directory, key), finished.rewards)
        if finished.details:
            np.savez_compressed(_details_path(self._directory, key), allow_pickle=False, **finished.details)
        with (self._directory / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **finished.row}) + "\n")
        self._rows[key] = finished.row


def kept_arrays(directory: Path, key: str) -> tuple[Float32Array, Details] | None:
    """Rewards and details of a run in a cache's directory, if they are there. Only reads, so a run may be writing."""
    path = _rewards_path(directory, key)
    if not path.exists():
        return None
    return np.load(path), _load_details(_details_path(directory, key))


def _load_details(path: Path) -> Details:
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _details_path(directory: Path, key: str) -> Path:
    return directory / DETAILS / f"{key}.npz"


def _rewards_path(directory: Path, key: str) -> Path:
    return directory / REWARDS / f"{key}.npy"


def _read_lines(path: Path) -> dict[str, Mapping[str, Any]]:
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    rows = [json.loads(line) for line in whole.splitlines()]
    return {row.pop("key"): row for row in rows}
