"""Coverage benchmark: how often the intervals hold the truth, on simulated logs of real outcomes.

    python -m bandit_router_sim.ope.coverage --data LOG.parquet --logs 1000 --write docs/ope-coverage.md

Every simulated log draws its requests with replacement from the queries of a full-information log, so the truth is the
mean over these queries; what is covered is the value over the distribution of requests (see `ope`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.coverage_measure import ScenarioCoverage, measure
from bandit_router_sim.ope.coverage_tables import as_markdown
from bandit_router_sim.ope.scenarios import scenarios

DEFAULT_LOGS = 1000
DEFAULT_ROWS = 2000
MEASURED_BELOW = "<!-- measured: everything below is written by the command above -->\n"


def coverage_of(log: FullLog, *, logs: int, rows: int, seed: int = 0, only: str = "") -> list[ScenarioCoverage]:
    """Every scenario (whose name contains `only`) on the complete rows of a full-information log."""
    chosen = [scenario for scenario in scenarios(log.complete_rows()) if only in scenario.name]
    return [measure(scenario, logs=logs, rows=rows, seed=seed) for scenario in chosen]


def section(log: FullLog, results: Sequence[ScenarioCoverage], *, rows: int) -> str:
    """The measurements on one log, under a heading."""
    size = f"{len(log.complete_rows())} queries, {len(log.arm_ids)} arms"
    return f"\n## {log.name}: {size}; {results[0].logs} logs of {rows} decisions a scenario\n\n{as_markdown(results)}"


def write_measured(page: Path, text: str) -> None:
    """Replace what was measured before in the page. Raises ValueError where the page has no place for it."""
    head, mark, _ = page.read_text(encoding="utf-8").partition(MEASURED_BELOW)
    if not mark:
        raise ValueError(f"{page} has no line {MEASURED_BELOW.strip()!r}")
    page.write_text(head + mark + text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every scenario on the logs given; print the tables, or put them into a page."""
    given = _parser().parse_args(arguments)
    text = ""
    for path in given.data:
        log = read_full_log(path)[0]
        results = coverage_of(log, logs=given.logs, rows=given.rows, seed=given.seed, only=given.scenario)
        text += section(log, results, rows=given.rows)
    if given.write is None:
        sys.stdout.write(text)
    else:
        write_measured(given.write, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Coverage of off-policy intervals on simulated logs.")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="full-information logs: parquet, JSONL, CSV"
    )
    parser.add_argument("--logs", type=int, default=DEFAULT_LOGS, help="simulated logs a scenario")
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, help="decisions a log")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other logs")
    parser.add_argument("--scenario", default="", help="only scenarios whose name contains this")
    parser.add_argument("--write", type=Path, help="page to put the tables into, in place of the earlier ones")
    return parser


if __name__ == "__main__":
    main()
