"""RouterBench (Hu et al., 2024): a pickled pandas DataFrame, one prompt a row.

Columns `sample_id`, `prompt` (the text of a Python list of turns), `eval_name`, `oracle_model_to_route_to`, and per
model M `M` (score in [0, 1]), `M|total_cost` (USD), `M|model_response`: the files routerbench_0shot.pkl and
routerbench_5shot.pkl. The pickle is read without running it and without pandas (see `inert_pickle`); parquet, CSV and
JSONL with the same columns are read, too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from bandit_router_sim.logs.canonical import COST_PREFIX, SCORE_PREFIX
from bandit_router_sim.logs.converters.pandas_pickle import read_frame
from bandit_router_sim.logs.converters.reshape import SPLITS, canonical, log_of_files
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import Column, Table, read_table

COST_SUFFIX = "|total_cost"
PICKLES = (".pkl", ".pickle")


def convert(*paths: PathLike, name: str | None = None, on_bad: OnBad | None = None) -> FullLog:
    """One log of all files; the split is that in the sample's id (mmlu-….val.221), if any.

    Raises BadRow and UnusableLog as `read_full_log` does; UnusableLog also for a pickle that asks for anything but a
    table.
    """
    return log_of_files(paths, _read, name=name, on_bad=on_bad)


def _read(path: Path, findings: Findings) -> Table:
    is_pickle = path.suffix.lower() in PICKLES
    table = read_frame(path) if is_pickle else read_table(path, findings, wants=lambda c: "|model_response" not in c)
    models = [c.removesuffix(COST_SUFFIX) for c in table.columns if c.endswith(COST_SUFFIX)]
    models = [model for model in models if model in table.columns]
    if not models:
        raise UnusableLog(str(path), f"no model has a column of its name and one with {COST_SUFFIX!r}")
    columns: dict[str, Column] = {}
    for model in models:
        columns[SCORE_PREFIX + model] = table.columns[model]
        columns[COST_PREFIX + model] = table.columns[model + COST_SUFFIX]
    ids = table.objects("sample_id")
    return canonical(
        table,
        query_id=ids,
        prompt=[_prompt(cell) for cell in table.objects("prompt")],
        source=table.objects("eval_name"),
        split=[_split(sample_id) for sample_id in ids],
        **columns,
    )


def _prompt(cell: Any) -> Any:
    """The turns, a line each, of a cell that is the text of a list of texts; any other cell as it is."""
    if not isinstance(cell, str) or not cell.startswith("["):
        return cell
    try:
        turns = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return cell
    is_turns = isinstance(turns, list) and all(isinstance(turn, str) for turn in turns)
    return "\n".join(turns) if is_turns else cell


def _split(sample_id: Any) -> str:
    parts = sample_id.split(".") if isinstance(sample_id, str) else []
    return next((SPLITS[part] for part in parts[1:] if part in SPLITS), "")
