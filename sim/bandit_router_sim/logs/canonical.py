"""The canonical full-information log: one row per query, every arm's score and cost in it.

Columns: `query_id`, `prompt`, `source`, `split`, and per arm M `score__M`, `cost__M`, `in_tok__M`, `out_tok__M`. The
arms are those that have a score column, in the order of these; the other columns of an arm, `source` and `split` may
be absent. Columns of no meaning here are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.logs.columns import COST, SCORE, TOKENS, Range, numbers, texts, unique_ids
from bandit_router_sim.logs.errors import BadRow, UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike, SkippedRows
from bandit_router_sim.logs.full import FloatArray, FullLog
from bandit_router_sim.logs.tables import Table, read_table

SCORE_PREFIX = "score__"
COST_PREFIX = "cost__"
INPUT_PREFIX = "in_tok__"
OUTPUT_PREFIX = "out_tok__"
PREFIXES = (SCORE_PREFIX, COST_PREFIX, INPUT_PREFIX, OUTPUT_PREFIX)
TEXT_COLUMNS = ("query_id", "prompt", "source", "split")


def read_full_log(path: PathLike, *, skip_bad: bool = False, name: str | None = None) -> tuple[FullLog, SkippedRows]:
    """The log in a parquet, JSONL, JSON or CSV file, and what was left out of it; `name`: the file's, if not given.

    The first row that breaks a rule raises BadRow; with `skip_bad` such rows are left out and counted. UnusableLog is
    raised where `query_id`, `prompt` or all scores are missing, or an arm has other columns but no score.
    """
    bad_rows: list[BadRow] = []
    findings = Findings(path)
    table = read_table(path, findings, wants=is_canonical)
    log = full_log_of(table, findings, name=name or Path(path).stem, on_bad=bad_rows.append if skip_bad else None)
    return log, SkippedRows.of(bad_rows)


def is_canonical(column: str) -> bool:
    """Whether the format gives the column a meaning."""
    return column in TEXT_COLUMNS or column.startswith(PREFIXES)


def full_log_of(table: Table, findings: Findings, *, name: str, on_bad: OnBad | None = None) -> FullLog:
    """The log of a table with canonical columns. Bad rows go to `on_bad`; without it the first one is raised."""
    arm_ids = _arms_of(table)
    prompts = texts(table, "prompt", findings)
    sources, splits = texts(table, "source", findings), texts(table, "split", findings)
    scores = _matrix(table, SCORE_PREFIX, arm_ids, findings, SCORE)
    costs = _matrix(table, COST_PREFIX, arm_ids, findings, COST)
    inputs = _matrix(table, INPUT_PREFIX, arm_ids, findings, TOKENS)
    outputs = _matrix(table, OUTPUT_PREFIX, arm_ids, findings, TOKENS)
    query_ids = unique_ids(table, "query_id", findings)
    kept = findings.settle(table.length, on_bad=on_bad)
    log = FullLog(
        name=name,
        arm_ids=arm_ids,
        query_ids=tuple(query_ids),
        prompts=tuple(prompts),
        sources=tuple(sources),
        splits=tuple(splits),
        scores=scores,
        costs_usd=costs,
        input_tokens=inputs,
        output_tokens=outputs,
    )
    return log if len(kept) == table.length else log.rows(kept)


def write_full_log(log: FullLog, path: PathLike) -> None:
    """Write the log as parquet or JSONL, by the name's ending; kinds of columns that are all NaN are left out.

    `read_full_log` gives it back, down to the last bit. Raises UnusableLog for another ending.
    """
    columns = _columns_of(log)
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        _write_parquet(columns, Path(path))
    elif suffix == ".jsonl":
        _write_jsonl(columns, Path(path))
    else:
        raise UnusableLog(str(path), f"cannot write {suffix!r}; known are .parquet, .jsonl")


def _arms_of(table: Table) -> tuple[str, ...]:
    for column in ("query_id", "prompt"):
        if column not in table.columns:
            raise UnusableLog(table.file, f"there is no column {column!r}")
    arm_ids = tuple(c.removeprefix(SCORE_PREFIX) for c in table.columns if c.startswith(SCORE_PREFIX))
    if not arm_ids or "" in arm_ids:
        raise UnusableLog(table.file, f"every arm needs a column {SCORE_PREFIX}NAME; found {list(arm_ids)}")
    for column in table.columns:
        if column.startswith(PREFIXES[1:]) and column.partition("__")[2] not in arm_ids:
            raise UnusableLog(table.file, f"there is {column!r}, but no {SCORE_PREFIX}{column.partition('__')[2]!s}")
    return arm_ids


def _matrix(table: Table, prefix: str, arm_ids: Sequence[str], findings: Findings, allowed: Range) -> FloatArray:
    """(n, K) of the arms' columns of that prefix."""
    matrix = np.full((table.length, len(arm_ids)), np.nan)
    for index, arm_id in enumerate(arm_ids):
        if prefix + arm_id in table.columns:
            matrix[:, index] = numbers(table, prefix + arm_id, findings, allowed)
    return matrix


def _columns_of(log: FullLog) -> dict[str, Sequence[str] | FloatArray]:
    columns: dict[str, Sequence[str] | FloatArray] = {
        "query_id": log.query_ids,
        "prompt": log.prompts,
        "source": log.sources,
        "split": log.splits,
    }
    kinds = zip(PREFIXES, (log.scores, log.costs_usd, log.input_tokens, log.output_tokens), strict=True)
    for prefix, matrix in kinds:
        if prefix == SCORE_PREFIX or np.isfinite(matrix).any():
            columns |= {prefix + arm_id: matrix[:, index] for index, arm_id in enumerate(log.arm_ids)}
    return columns


def _write_parquet(columns: dict[str, Sequence[str] | FloatArray], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    arrays = {
        name: pa.array(cells, mask=np.isnan(cells)) if isinstance(cells, np.ndarray) else pa.array(cells, pa.string())
        for name, cells in columns.items()
    }
    parquet.write_table(pa.table(arrays), path)


def _write_jsonl(columns: dict[str, Sequence[str] | FloatArray], path: Path) -> None:
    lists: list[list[Any]] = [
        [None if np.isnan(x) else x for x in cells.tolist()] if isinstance(cells, np.ndarray) else list(cells)
        for cells in columns.values()
    ]
    with path.open("w", encoding="utf-8") as file:
        for row in zip(*lists, strict=True):
            file.write(json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False) + "\n")
