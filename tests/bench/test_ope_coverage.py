"""Coverage of the off-policy intervals on real outcomes; with OPE_COVERAGE_PAGE=docs/ope-coverage.md also its tables.

Half a minute per hundred logs. OPE_COVERAGE_LOGS sets their number a scenario, 1000 by default.
"""

from __future__ import annotations

import importlib.resources
import math
import os
from pathlib import Path

import pytest

from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.converters import paretobandit
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.coverage import DEFAULT_LOGS, DEFAULT_ROWS, coverage_of, section, write_measured

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "paretobandit.parquet"
ENOUGH_LOGS = 1000
REFUSED = "tau 1500, a far price"


def recorded_log() -> FullLog:
    """ParetoBandit's outcomes: the four-arm log where it is at hand, else the three arms in the package."""
    if PUBLISHED.exists():
        return read_full_log(PUBLISHED)[0]
    examples = importlib.resources.files("pareto_bandit") / "data" / "examples"
    return paretobandit.convert(*(str(examples / name) for name in ("val.jsonl", "test_holdout.jsonl")))


@pytest.mark.timeout(3600)
def test_nominal_95_percent_intervals_cover_as_they_claim() -> None:
    log = recorded_log()
    logs = int(os.environ.get("OPE_COVERAGE_LOGS", DEFAULT_LOGS))
    chance = 0.0 if logs >= ENOUGH_LOGS else 4.0 * math.sqrt(0.95 * 0.05 / logs)
    results = coverage_of(log, logs=logs, rows=DEFAULT_ROWS)
    text = section(log, results, rows=DEFAULT_ROWS)
    print(text)
    if page := os.environ.get("OPE_COVERAGE_PAGE"):
        write_measured(Path(page), text)
    for result in results:
        for part in (result.reward, result.cost):
            assert all(covered >= 0.95 - chance for covered, _ in part.guaranteed.values()), result.name
            assert part.scores["dr"].rmse < part.scores["ips"].rmse, result.name
            is_claimed = 0.93 - chance <= part.scores["dr"].normal <= 0.97 + chance
            assert is_claimed or result.name == REFUSED, result.name
        assert result.refused_share == float(result.name == REFUSED), result.name
