"""A comparison as files: parquet (the long table), JSON (everything), markdown (for people)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.compare.comparison import BASELINE, Comparison, Difference
from bandit_router_sim.compare.provenance import Provenance

_MARKS = {"better": "▲", "worse": "▼", "even": "="}
FEWEST_ORDERS = 5
COMPARE_JSON = "compare.json"
Rows = Sequence[dict[str, Any]]


def write_report(comparison: Comparison, directory: Path, provenance: Provenance | None = None) -> None:
    """Write `compare.parquet`, `compare.json` and `compare.md`, with how the comparison came about, if known."""
    import pyarrow as pa
    from pyarrow import parquet

    directory.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(comparison.rows), directory / "compare.parquet")
    found = {**_as_json(comparison), "provenance": asdict(provenance) if provenance is not None else None}
    (directory / COMPARE_JSON).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (directory / "compare.md").write_text(as_markdown(comparison), encoding="utf-8")


def as_markdown(comparison: Comparison) -> str:
    """Per log: mean reward at each budget, with spend, and the difference from the product's default."""
    by_log: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in comparison.rows:
        by_log[row["log"]].append(row)
    parts = [_log_section(log, rows, comparison.differences) for log, rows in by_log.items()]
    if comparison.left_out:
        parts.append("Left out: " + "; ".join(comparison.left_out) + ".\n")
    return _LEGEND + "\n" + "\n".join(parts)


_LEGEND = f"""Cells: mean reward · share of the budget spent · `r` mean refusals · `+` overspend had nobody stopped the
policy. References are in italics: they know what no router knows. Difference: mean reward over all budgets less that
of `{BASELINE}`, with its 95 % interval (queries and orders resampled together); ▲ better, ▼ worse, = the interval
contains 0, also beside each cell.
"""


def _log_section(log: str, rows: Rows, differences: Sequence[Difference]) -> str:
    budgets_usd = sorted({row["budget_usd"] for row in rows})
    names = list(dict.fromkeys(row["policy"] for row in rows))
    found = {(d.policy, d.budget_usd): d for d in differences if d.log == log}
    heads = ["policy", *(f"${budget_usd:.2e}" for budget_usd in budgets_usd), f"all budgets − {BASELINE}"]
    lines = [f"## {log}", "", _seeds_line(rows), "", _line(heads), _line(["---"] * len(heads))]
    for name in names:
        members = [row for row in rows if row["policy"] == name]
        cells = [_cell([row for row in members if row["budget_usd"] == b], found.get((name, b))) for b in budgets_usd]
        label = f"*{name}*" if members[0]["kind"] == "reference" else name
        lines.append(_line([label, *cells, _difference(found.get((name, None)))]))
    return "\n".join(lines) + "\n"


def _seeds_line(rows: Rows) -> str:
    seeds = len({row["seed"] for row in rows})
    caution = "" if seeds >= FEWEST_ORDERS else " So few orders make intervals a rough guide only."
    return f"{rows[0]['n']} reported requests per run, {seeds} orders.{caution}"


def _cell(rows: Rows, difference: Difference | None) -> str:
    mark = f" {_MARKS[difference.interval.verdict]}" if difference is not None else ""
    text = f"{_mean(rows, 'reward_mean'):.4f}{mark} · {_mean(rows, 'utilisation'):.2f}"
    refusals, overspend = _mean(rows, "refusals"), _mean(rows, "overspend")
    text += f" · r{refusals:.1f}" if refusals >= 0.05 else ""
    return text + (f" · +{overspend:.0%}" if overspend >= 0.005 else "")


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    interval = difference.interval
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] {_MARKS[interval.verdict]}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean(rows: Rows, field: str) -> float:
    return float(np.mean([row[field] for row in rows]))


def _as_json(comparison: Comparison) -> dict[str, Any]:
    differences = [
        {
            "log": difference.log,
            "policy": difference.policy,
            "budget_usd": difference.budget_usd,
            "mean": difference.interval.mean,
            "low": difference.interval.low,
            "high": difference.interval.high,
            "verdict": difference.interval.verdict,
        }
        for difference in comparison.differences
    ]
    return {
        "runs": comparison.rows,
        "differences": differences,
        "arms": comparison.arms,
        "detailed": comparison.detailed,
        "left_out": comparison.left_out,
    }
