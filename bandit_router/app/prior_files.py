"""Files that priors are fitted on: JSON lines, or parquet where pyarrow is installed (the `sim` extra)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bandit_router.core.preferences.rows import (
    BadPriorRow,
    BattleColumns,
    Row,
    ScoreColumns,
    battle_columns,
    json_rows,
    score_columns,
)

T = TypeVar("T", BattleColumns, ScoreColumns)


class UnreadablePriorFile(ValueError):
    """The file cannot be read as what it should be; the message names it and the reason."""


def read_battles(paths: Sequence[Path]) -> BattleColumns:
    """The battles of all files. Raises UnreadablePriorFile."""
    parts = [_checked(path, battle_columns) for path in paths]
    return BattleColumns(
        prompts=tuple(prompt for part in parts for prompt in part.prompts),
        models_a=tuple(model for part in parts for model in part.models_a),
        models_b=tuple(model for part in parts for model in part.models_b),
        winners=tuple(winner for part in parts for winner in part.winners),
    )


def read_scores(paths: Sequence[Path]) -> ScoreColumns:
    """The scored rows of all files. Raises UnreadablePriorFile."""
    parts = [_checked(path, score_columns) for path in paths]
    arm_ids = sorted({arm_id for part in parts for arm_id in part.scores})
    missing = float("nan")
    return ScoreColumns(
        prompts=tuple(prompt for part in parts for prompt in part.prompts),
        scores={
            arm_id: tuple(score for part in parts for score in part.scores.get(arm_id, (missing,) * len(part.prompts)))
            for arm_id in arm_ids
        },
    )


def _checked(path: Path, read: Callable[[Iterable[Row]], T]) -> T:
    try:
        return read(_rows(path))
    except (BadPriorRow, OSError) as error:
        raise UnreadablePriorFile(f"{path}: {error}") from None


def _rows(path: Path) -> Iterator[Row]:
    if path.suffix != ".parquet":
        with path.open("rb") as lines:
            yield from json_rows(lines)
        return
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UnreadablePriorFile(
            f"{path}: parquet needs pyarrow: pip install 'bandit-router[sim]', or give JSON lines"
        ) from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ArrowException as error:
        raise UnreadablePriorFile(f"{path}: {error}") from None
