"""Preference battles: two models answered one prompt, and someone said which answer was better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from bandit_router_sim.logs.columns import filled_texts, texts
from bandit_router_sim.logs.errors import BadRow, UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike, SkippedRows
from bandit_router_sim.logs.tables import Table, read_table

Winner = Literal["a", "b", "tie"]
COLUMNS = ("prompt", "model_a", "model_b", "winner")
IS_WINNER = "a winner is 'a', 'b' or 'tie'"


@dataclass(frozen=True, slots=True)
class Battles:
    """n battles: `winners[i]` says whether `models_a[i]` or `models_b[i]` answered `prompts[i]` better."""

    name: str
    prompts: tuple[str, ...]
    models_a: tuple[str, ...]
    models_b: tuple[str, ...]
    winners: tuple[Winner, ...]

    def __len__(self) -> int:
        return len(self.winners)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """The models that took part, sorted."""
        return tuple(sorted({*self.models_a, *self.models_b}))

    def rows(self, index: Sequence[int]) -> Battles:
        """The battles at `index`, in that order."""
        return Battles(
            name=self.name,
            prompts=tuple(self.prompts[i] for i in index),
            models_a=tuple(self.models_a[i] for i in index),
            models_b=tuple(self.models_b[i] for i in index),
            winners=tuple(self.winners[i] for i in index),
        )


def read_battles(path: PathLike, *, skip_bad: bool = False, name: str | None = None) -> tuple[Battles, SkippedRows]:
    """The battles in a parquet, JSONL, JSON or CSV file with `prompt`, `model_a`, `model_b`, `winner` (a, b or tie).

    The first row that breaks a rule raises BadRow; with `skip_bad` such rows are left out and counted. UnusableLog is
    raised where a column is missing.
    """
    bad_rows: list[BadRow] = []
    findings = Findings(path)
    table = read_table(path, findings, wants=lambda column: column in COLUMNS)
    on_bad = bad_rows.append if skip_bad else None
    return battles_of(table, findings, name=name or Path(path).stem, on_bad=on_bad), SkippedRows.of(bad_rows)


def battles_of(table: Table, findings: Findings, *, name: str, on_bad: OnBad | None = None) -> Battles:
    """The battles of a table with these columns. Bad rows go to `on_bad`; without it the first one is raised."""
    for column in COLUMNS:
        if column not in table.columns:
            raise UnusableLog(table.file, f"there is no column {column!r}")
    prompts = texts(table, "prompt", findings)
    models_a, models_b = filled_texts(table, "model_a", findings), filled_texts(table, "model_b", findings)
    winners = table.objects("winner")
    for row, winner in enumerate(winners, start=1):
        if winner not in ("a", "b", "tie"):
            findings.add(row, "winner", IS_WINNER)
    kept = findings.settle(table.length, on_bad=on_bad).tolist()
    return Battles(
        name, tuple(prompts), tuple(models_a), tuple(models_b), cast(tuple[Winner, ...], tuple(winners))
    ).rows(kept)
