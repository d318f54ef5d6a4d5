"""With a peer's money the product may spend in every phase what the peer has spent in it, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bandit_router_sim.experiments.equal_money import EXPERIMENTS, PHASES, equal_money_table, tasks_with_the_money_of
from bandit_router_sim.experiments.runs import Task, ground_of, run_all, tasks_of
from bandit_router_sim.kept.cache import Finished, ResultCache
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.replay.setting import Material
from tests.unit.sim.compare.compare_logs import ARM_IDS, make_material

COUNT = 160
BUDGET_USD = 6e-4
PEER = "paretobandit"
Played = tuple[Material, dict[Task, Finished], dict[Task, Task], dict[Task, Finished]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The material, the peer's runs, the pairs, and the default's runs with its money."""
    if reason := PEERS[PEER].why_not(ARM_IDS):
        pytest.skip(reason)
    material = make_material(COUNT)
    ground, cache = ground_of(material, players=[PEER]), ResultCache(Path(tmp_path_factory.mktemp("cache")))
    theirs = dict(run_all(ground, tasks_of(ground, [BUDGET_USD], players=[PEER], seeds=2), cache, jobs=1))
    pairs = tasks_with_the_money_of(theirs, player=PEER)
    return material, theirs, pairs, dict(run_all(ground, list(pairs.values()), cache, jobs=1))


def spent_usd(run: Finished) -> list[float]:
    costs, phases = run.details["cost_usd"], run.details["phase"]
    return [float(costs[phases == phase].sum()) for phase in range(PHASES)]


def test_every_run_of_the_experiments_of_three_phases_has_a_partner(played: Played) -> None:
    _, theirs, pairs, _ = played
    assert list(pairs) == [task for task in theirs if task.experiment in EXPERIMENTS]
    assert {task.player for task in pairs.values()} == {"default"}
    assert all(task.setting.seed == pair.setting.seed for task, pair in pairs.items())


def test_in_no_phase_more_is_spent_than_the_peer_has(played: Played) -> None:
    _, theirs, pairs, ours = played
    for task, pair in pairs.items():
        mine, its = spent_usd(ours[pair]), spent_usd(theirs[task])
        assert all(0.0 < used <= limit * (1 + 1e-5) for used, limit in zip(mine, its, strict=True))
        assert sum(mine) > 0.5 * sum(its)


def test_the_same_queries_are_asked_in_every_phase(played: Played) -> None:
    _, theirs, pairs, ours = played
    for task, pair in pairs.items():
        for field in ("row", "phase"):
            assert (theirs[task].details[field] == ours[pair].details[field]).all()


def test_the_table_has_a_row_for_every_experiment_and_budget(played: Played) -> None:
    material, theirs, pairs, ours = played
    text = equal_money_table(pairs, {**theirs, **ours}, queries=len(material.log))
    rows = text.splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(EXPERIMENTS)
    first = [task for task in pairs if task.experiment == EXPERIMENTS[0]]
    before = np.mean([theirs[task].rewards[theirs[task].details["phase"] == 0].mean() for task in first])
    assert f"{before:.4f} " in rows[0]
