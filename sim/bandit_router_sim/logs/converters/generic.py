"""Any CSV, JSONL, JSON or parquet file with one query a row, by a mapping of columns that the caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bandit_router_sim.logs.canonical import COST_PREFIX, INPUT_PREFIX, OUTPUT_PREFIX, SCORE_PREFIX
from bandit_router_sim.logs.converters.reshape import canonical, log_of_files, numbered
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import Column, Table, read_table


@dataclass(frozen=True, slots=True)
class ArmColumns:
    """The columns of one arm; '' where the file has none."""

    score: str
    cost_usd: str = ""
    input_tokens: str = ""
    output_tokens: str = ""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which column is what. `arms`: by arm id. Without `query_id` a row is named by file and place."""

    prompt: str
    arms: Mapping[str, ArmColumns] = field(default_factory=dict)
    query_id: str = ""
    source: str = ""
    split: str = ""

    def by_canonical_name(self) -> dict[str, str]:
        """The file's column of each canonical one."""
        names = {"query_id": self.query_id, "prompt": self.prompt, "source": self.source, "split": self.split}
        for arm_id, arm in self.arms.items():
            names[SCORE_PREFIX + arm_id] = arm.score
            names[COST_PREFIX + arm_id] = arm.cost_usd
            names[INPUT_PREFIX + arm_id] = arm.input_tokens
            names[OUTPUT_PREFIX + arm_id] = arm.output_tokens
        return {canonical_name: column for canonical_name, column in names.items() if column}


def convert(*paths: PathLike, columns: ColumnMapping, name: str | None = None, on_bad: OnBad | None = None) -> FullLog:
    """One log of all files. Raises UnusableLog naming a mapped column that a file lacks, else as `read_full_log`."""
    return log_of_files(paths, lambda path, findings: _read(path, findings, columns), name=name, on_bad=on_bad)


def _read(path: Path, findings: Findings, mapping: ColumnMapping) -> Table:
    names = mapping.by_canonical_name()
    table = read_table(path, findings, wants=lambda column: column in names.values())
    if missing := [column for column in names.values() if column not in table.columns]:
        raise UnusableLog(str(path), f"there is no column {missing[0]!r}")
    renamed: dict[str, Column] = {name: table.columns[column] for name, column in names.items()}
    renamed.setdefault("query_id", list(numbered(path.stem, table.length)))
    return canonical(table, **renamed)
