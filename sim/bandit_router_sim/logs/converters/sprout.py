"""SPROUT (CARROT, Somerstep et al., 2025): parquet or JSONL, one prompt a row, one struct a model.

Columns `prompt`, `dataset`, `key`, `golden_answer`, …, and per model M a struct with `num_input_tokens`,
`num_output_tokens`, `response`, `score`. It records tokens, not money: costs are NaN until `pricing.price_tokens`
fills them. The split is that of the file's name (train-…, validation-…, test-…).
"""

from __future__ import annotations

from pathlib import Path

from bandit_router_sim.logs.canonical import INPUT_PREFIX, OUTPUT_PREFIX, SCORE_PREFIX
from bandit_router_sim.logs.converters.reshape import canonical, field_of, log_of_files, numbered, split_of
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import Column, Table, parquet_schema, read_parquet_columns, read_table

FIELDS = {SCORE_PREFIX: "score", INPUT_PREFIX: "num_input_tokens", OUTPUT_PREFIX: "num_output_tokens"}
IS_STRUCT = "is null or a struct with num_input_tokens, num_output_tokens and score"


def convert(*paths: PathLike, name: str | None = None, on_bad: OnBad | None = None) -> FullLog:
    """One log of all files. Raises BadRow and UnusableLog as `read_full_log` does."""
    return log_of_files(paths, _read, name=name, on_bad=on_bad)


def _read(path: Path, findings: Findings) -> Table:
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else read_table(path, findings)
    models = [column for column in table.columns if any(_is_answer(cell) for cell in table.objects(column))]
    if not models:
        raise UnusableLog(str(path), "no column holds structs with a score, as SPROUT's models do")
    columns: dict[str, Column] = {}
    for model in models:
        cells = table.objects(model)
        for row, cell in enumerate(cells, start=1):
            if cell is not None and not _is_answer(cell):
                findings.add(row, model, IS_STRUCT)
        columns |= {prefix + model: field_of(cells, key) for prefix, key in FIELDS.items()}
    return canonical(
        table,
        query_id=numbered(path.stem, table.length),
        prompt=table.objects("prompt"),
        source=table.objects("dataset"),
        split=[split_of(path)] * table.length,
        **columns,
    )


def _is_answer(cell: object) -> bool:
    return isinstance(cell, dict) and "score" in cell


def _read_parquet(path: Path) -> Table:
    """What is needed of the file; the responses, which are most of it, stay on disk."""
    import pyarrow as pa

    wanted = []
    for column in parquet_schema(path):
        if pa.types.is_struct(column.type):
            present = {inner.name for inner in column.type}
            wanted += [f"{column.name}.{key}" for key in FIELDS.values() if key in present]
        elif column.name in ("prompt", "dataset"):
            wanted.append(column.name)
    return read_parquet_columns(path, wanted)
