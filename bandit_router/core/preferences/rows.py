"""Rows of battle and score files, whatever they were read from, checked and turned into columns.

A battle has `prompt`, `model_a`, `model_b` and `winner` (a, b or tie). A scored row has `prompt` and, per arm M,
`score__M` in [0, 1]; a cell that is missing or null was not scored, so a log of single choices is a scored file with
one score per row. Further columns are ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bandit_router.core.preferences.battles import OUTCOMES

MAX_ROWS = 1_000_000
SCORE_PREFIX = "score__"
_BATTLE_COLUMNS = ("prompt", "model_a", "model_b", "winner")

Row = Mapping[str, Any]


class BadPriorRow(ValueError):
    """A row breaks a rule; the message names the row (counted from 1), the column and the rule."""


@dataclass(frozen=True, slots=True)
class BattleColumns:
    """n battles as columns."""

    prompts: tuple[str, ...]
    models_a: tuple[str, ...]
    models_b: tuple[str, ...]
    winners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """m prompts, and per arm its m scores; NaN where there is none."""

    prompts: tuple[str, ...]
    scores: Mapping[str, tuple[float, ...]]


def json_rows(lines: Iterable[bytes]) -> Iterator[Row]:
    """The objects of JSON lines; empty lines are skipped. Raises BadPriorRow."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadPriorRow(f"line {number}: is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadPriorRow(f"line {number}: must be an object")
        yield row


def battle_columns(rows: Iterable[Row]) -> BattleColumns:
    """The battles. Raises BadPriorRow."""
    found = [_battle(number, row) for number, row in _counted(rows)]
    columns = list(zip(*found, strict=True)) if found else [(), (), (), ()]
    return BattleColumns(*columns)


def score_columns(rows: Iterable[Row]) -> ScoreColumns:
    """The scored rows. Raises BadPriorRow."""
    prompts: list[str] = []
    cells: dict[str, dict[int, float]] = {}
    for number, row in _counted(rows):
        prompts.append(_text(number, row, "prompt"))
        for column, value in row.items():
            if column.startswith(SCORE_PREFIX) and value is not None and value == value:
                cells.setdefault(column.removeprefix(SCORE_PREFIX), {})[number - 1] = _score(number, column, value)
    scores = {
        arm_id: tuple(known.get(index, math.nan) for index in range(len(prompts)))
        for arm_id, known in sorted(cells.items())
    }
    return ScoreColumns(tuple(prompts), scores)


def _counted(rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise BadPriorRow(f"at most {MAX_ROWS} rows are read")
        yield number, row


def _battle(number: int, row: Row) -> tuple[str, ...]:
    prompt, model_a, model_b, winner = (_text(number, row, column) for column in _BATTLE_COLUMNS)
    if winner not in OUTCOMES:
        raise BadPriorRow(f"row {number}: winner must be one of {', '.join(OUTCOMES)}, got {winner!r}")
    return prompt, model_a, model_b, winner


def _text(number: int, row: Row, column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or (column != "prompt" and not value):
        raise BadPriorRow(f"row {number}: {column} must be a text, got {value!r}")
    return value


def _score(number: int, column: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise BadPriorRow(f"row {number}: {column} must be a number in [0, 1], got {value!r}")
    return float(value)
