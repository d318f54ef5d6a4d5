"""RouteLLM's benchmark answers (Ong et al., 2024): CSV or JSON, one prompt a row, one True or False a model.

MMLU is one file a domain (`responses/mmlu_DOMAIN.csv`: `prompt`, and a column a model); GSM8K is one file
(`gsm8k_responses.csv`) with the responses in further columns `M_response`. It records no costs and no tokens:
`pricing.estimate_tokens` and `pricing.price_tokens` estimate them. Prompts that RouteLLM leaves out as contaminated
are still in these files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bandit_router_sim.logs.canonical import SCORE_PREFIX
from bandit_router_sim.logs.converters.reshape import log_of_files, numbered
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import Column, Table, read_table

IS_ANSWER = "is True or False"
TRUTH = {"true": 1.0, "false": 0.0, "": None}


def convert(*paths: PathLike, name: str | None = None, on_bad: OnBad | None = None) -> FullLog:
    """One log of all files; the source is `mmlu/DOMAIN` or the file's name.

    Raises BadRow and UnusableLog as `read_full_log` does.
    """
    return log_of_files(paths, _read, name=name, on_bad=on_bad)


def _read(path: Path, findings: Findings) -> Table:
    table = read_table(path, findings, wants=lambda column: not column.endswith("_response"))
    models = [column for column in table.columns if column != "prompt" and _is_model(table.objects(column))]
    if not models:
        raise UnusableLog(str(path), "no column holds True and False, as RouteLLM's models do")
    columns: dict[str, Column] = {SCORE_PREFIX + model: _scores(table, model, findings) for model in models}
    source = path.stem.removesuffix("_responses").replace("mmlu_", "mmlu/", 1)
    columns["query_id"] = list(numbered(source, table.length))
    columns["prompt"] = table.objects("prompt")
    columns["source"] = [source] * table.length
    return Table(table.file, table.length, columns)


def _is_model(cells: list[Any]) -> bool:
    """Whether the first cell that is set is a truth value."""
    first = next((cell for cell in cells if cell not in (None, "")), None)
    return str(first).lower() in ("true", "false")


def _scores(table: Table, model: str, findings: Findings) -> list[float | None]:
    cells = ["" if cell is None else str(cell).lower() for cell in table.objects(model)]
    for row, cell in enumerate(cells, start=1):
        if cell not in TRUTH:
            findings.add(row, model, IS_ANSWER)
    return [TRUTH.get(cell) for cell in cells]
