"""The example logs in the ParetoBandit package: JSONL, one prompt a line, every arm's reward and cost in it.

`{"prompt", "source", "arms": {M: {"reward", "cost", …}}, …}`. Format seen in paretobandit 0.1.1. The lines have no
ids: a row is named by file and place. The split is that of the file's name (val, test_holdout).
"""

from __future__ import annotations

from pathlib import Path

from bandit_router_sim.logs.canonical import COST_PREFIX, SCORE_PREFIX
from bandit_router_sim.logs.converters.reshape import canonical, field_of, log_of_files, numbered, split_of
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import Column, Table, read_table

IS_ARMS = "is an object of one object an arm"


def convert(*paths: PathLike, name: str | None = None, on_bad: OnBad | None = None) -> FullLog:
    """One log of all files. Raises BadRow and UnusableLog as `read_full_log` does."""
    return log_of_files(paths, _read, name=name, on_bad=on_bad)


def _read(path: Path, findings: Findings) -> Table:
    table = read_table(path, findings, wants=lambda column: column in ("prompt", "source", "arms"))
    arms = table.objects("arms")
    for row, cell in enumerate(arms, start=1):
        if not isinstance(cell, dict) or not all(isinstance(arm, dict) for arm in cell.values()):
            findings.add(row, "arms", IS_ARMS)
    columns: dict[str, Column] = {}
    for arm_id in dict.fromkeys(arm_id for cell in arms if isinstance(cell, dict) for arm_id in cell):
        outcomes = field_of(arms, arm_id)
        columns[SCORE_PREFIX + arm_id] = field_of(outcomes, "reward")
        columns[COST_PREFIX + arm_id] = field_of(outcomes, "cost")
    return canonical(
        table,
        query_id=numbered(path.stem, table.length),
        prompt=table.objects("prompt"),
        source=table.objects("source"),
        split=[split_of(path)] * table.length,
        **columns,
    )
