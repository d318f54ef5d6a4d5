"""Real logs: those in the ParetoBandit package, and those beside the repository where they are (they stay there)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bandit_router_sim.logs.battles import read_battles
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.converters import paretobandit
from bandit_router_sim.logs.describe import describe, render_table
from bandit_router_sim.logs.errors import UnusableLog

SHARED = Path(__file__).resolve().parents[4].parent / "shared" / "data"
# rows and arms as the data's own README gives them
SCORED = {
    "paretobandit": (3609, 4),
    "routellm_mmlu": (14042, 2),
    "routellm_gsm8k": (1319, 2),
    "mmlu_pro": (12032, 32),
    "zeroeval": (2840, 56),
}


def shared(name: str) -> Path:
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not in shared/data beside the repository")
    return path


def test_the_logs_of_the_paretobandit_package_are_read_whole() -> None:
    spec = find_spec("pareto_bandit")
    if spec is None or spec.origin is None:
        pytest.skip("paretobandit is not installed (extra: demo)")
    folder = Path(spec.origin).parent / "data" / "examples"
    log = paretobandit.convert(folder / "val.jsonl", folder / "test_holdout.jsonl", name="paretobandit")
    assert (len(log), len(log.arm_ids), len(log.complete_rows())) == (3609, 3, 3609)
    assert describe(log).splits == {"test": 1824, "val": 1785}


@pytest.mark.parametrize("name", SCORED)
def test_shared_logs_have_the_rows_and_arms_that_they_are_said_to_have(name: str) -> None:
    log, skipped = read_full_log(shared(name))
    description = describe(log)
    assert (description.rows, len(description.arms)) == SCORED[name]
    assert skipped.total == 0
    assert all(arm.answered and 0.0 <= arm.mean_score <= 1.0 for arm in description.arms)
    costs = [point.mean_cost_usd for point in description.static_mix]
    assert costs == sorted(costs)
    scores = [point.mean_score for point in description.static_mix]
    assert scores == sorted(scores)
    assert name in render_table(description)


def test_the_mean_scores_of_the_shared_mmlu_log_are_as_stated() -> None:
    means = {arm.arm_id: arm.mean_score for arm in describe(read_full_log(shared("routellm_mmlu"))[0]).arms}
    np.testing.assert_allclose(sorted(means.values()), [0.681, 0.806], atol=5e-4)


def test_the_shared_battles_are_read_whole() -> None:
    battles, skipped = read_battles(shared("qlora_oa_prefs"))
    assert (len(battles), len(battles.model_ids), len(set(battles.prompts))) == (38544, 7, 952)
    assert skipped.total == 0


def test_the_table_of_prices_is_no_log() -> None:
    with pytest.raises(UnusableLog, match="query_id"):
        read_full_log(shared("prices"))
