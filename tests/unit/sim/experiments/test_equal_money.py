"""With a peer's money the product may spend in every phase what the peer has spent in it, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bandit_router_sim.experiments.equal_money import equal_money_table, spent_by_phase, tasks_with_the_money_of
from bandit_router_sim.experiments.phases import OF_THREE_PHASES
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
    pairs = dict(tasks_with_the_money_of(theirs, player=PEER))
    return material, theirs, pairs, dict(run_all(ground, list(pairs.values()), cache, jobs=1))


def test_every_run_of_the_experiments_of_three_phases_has_a_partner(played: Played) -> None:
    _, theirs, pairs, _ = played
    assert list(pairs) == [task for task in theirs if task.experiment in OF_THREE_PHASES]
    assert {task.player for task in pairs.values()} == {"default"}
    assert all(task.setting.seed == pair.setting.seed for task, pair in pairs.items())


def test_in_no_phase_more_is_spent_than_the_peer_has(played: Played) -> None:
    _, theirs, pairs, ours = played
    for task, pair in pairs.items():
        mine, its = spent_by_phase(ours[pair]), spent_by_phase(theirs[task])
        assert all(0.0 < used <= limit * (1 + 1e-5) for used, limit in zip(mine, its, strict=True))
        assert sum(mine) > 0.5 * sum(its)


def test_the_limits_are_what_the_peer_has_spent(played: Played) -> None:
    _, theirs, pairs, _ = played
    for task, pair in pairs.items():
        whole_usd = pair.setting.budget_usd * len(theirs[task].rewards)
        limits_usd = [whole_usd * share for share in pair.setting.scenario.money_by_window]
        assert limits_usd == pytest.approx(spent_by_phase(theirs[task]).tolist(), rel=1e-6)


def test_a_run_without_money_in_some_phase_has_no_partner(played: Played) -> None:
    _, theirs, pairs, _ = played
    task = next(iter(pairs))
    details = dict(theirs[task].details)
    details["cost_usd"] = np.where(details["phase"] == 1, np.float32(0), details["cost_usd"])
    broke = replace(theirs[task], details=details)
    left = dict(tasks_with_the_money_of({**theirs, task: broke}, player=PEER))
    assert left.keys() == pairs.keys() - {task}


def test_the_same_queries_are_asked_in_every_phase(played: Played) -> None:
    _, theirs, pairs, ours = played
    for task, pair in pairs.items():
        for field in ("row", "phase"):
            assert (theirs[task].details[field] == ours[pair].details[field]).all()


def test_the_table_has_a_row_for_every_experiment_and_budget(played: Played) -> None:
    material, theirs, pairs, ours = played
    text = equal_money_table(list(pairs.items()), {**theirs, **ours}, queries=len(material.log))
    rows = text.splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(OF_THREE_PHASES)
    first = [task for task in pairs if task.experiment == OF_THREE_PHASES[0]]
    its, mine = [theirs[task] for task in first], [ours[pairs[task]] for task in first]
    cells = rows[0].strip("| ").split(" | ")
    assert cells[3].split()[0] == f"{mean_in(its, 0):.4f}"
    assert cells[4] == "default"
    assert cells[5].split()[0] == f"{mean_in(mine, 0):.4f}"
    assert float(cells[7].split()[0]) == pytest.approx(mean_in(mine, 0) - mean_in(its, 0), abs=2e-4)


def mean_in(runs: list[Finished], phase: int) -> float:
    return float(np.mean([run.rewards[run.details["phase"] == phase].mean() for run in runs]))
