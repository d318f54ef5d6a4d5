"""The product starts with what ParetoBandit ships, where ParetoBandit does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.experiments.equal_money import tasks_with_the_money_of
from bandit_router_sim.experiments.runs import Ground, Task, run_task, starts_as, tasks_of
from bandit_router_sim.experiments.tables import changes_tables, compared_with
from bandit_router_sim.experiments.warm import LIKE, WARM, play_warm
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.paretobandit import shipped_models
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.peers.shipped_priors import embeddings_of, shipped_prior
from bandit_router_sim.replay.pricing import price_by_cost
from bandit_router_sim.replay.setting import Material
from bandit_router_sim.replay.sweep import replay_one
from tests.builders import generator
from tests.unit.sim.compare.compare_logs import make_material

COUNT = 120
AMPLE_USD = 1.0


def ground() -> Ground:
    """A log of the arms that the package knows, one of them unknown, with features as the package reads them."""
    if reason := PEERS["paretobandit"].why_not(()):
        pytest.skip(reason)
    material = make_material(COUNT)
    log = replace(material.log, arm_ids=tuple(shipped_models()))
    features = np.column_stack([np.ones(COUNT), generator(3).normal(size=(COUNT, 25))])
    return Ground(Material(log, material.embeddings, price_by_cost(log)), {LIKE: features})


def stationary(place: Ground) -> Task:
    tasks = tasks_of(place, [AMPLE_USD], players=[WARM], seeds=1)
    return next(task for task in tasks if task.experiment == "stationary")


def foretold(material: Material, features: FloatArray) -> FloatArray:
    """Rewards (n, K) that the shipped priors expect."""
    prior = shipped_prior(material.log.arm_ids)
    contexts = np.column_stack([np.ones(len(features)), np.zeros(len(features)), embeddings_of(features)])
    return np.column_stack([contexts @ prior.arms[arm_id].mean for arm_id in material.log.arm_ids])


def test_before_the_first_reward_it_expects_what_the_priors_say() -> None:
    place = ground()
    material, features = place.of("stationary"), place.contexts[LIKE]
    cold_errors = []
    for seed in range(4):
        setting = replace(stationary(place).setting, seed=seed)
        warm = play_warm(material, setting, features).trace
        cold = replay_one(replace(material, embeddings=embeddings_of(features)), setting).trace
        expected = foretold(material, features)[warm.rows[0]]
        assert warm.expected_rewards[0] == pytest.approx(expected[warm.chosen[0]], abs=0.03)
        cold_errors.append(abs(float(cold.expected_rewards[0] - expected[cold.chosen[0]])))
    assert max(cold_errors) > 0.05


def test_its_runs_are_those_of_the_warm_start() -> None:
    place = ground()
    task = stationary(place)
    finished = run_task(place, task)
    trace = play_warm(place.of("stationary"), task.setting, place.contexts[LIKE]).trace
    assert finished.row["policy"] == WARM
    assert finished.rewards.tolist() == pytest.approx(trace.rewards[trace.is_reported].tolist())


def test_it_is_compared_with_the_peer_that_starts_alike_and_has_its_money() -> None:
    assert (starts_as(WARM), starts_as("default"), starts_as(LIKE)) == (LIKE, "default", LIKE)
    assert [compared_with(name) for name in ("default", WARM, LIKE, "paretobandit")] == [
        [],
        ["default"],
        ["default", WARM],
        ["default"],
    ]
    place = ground()
    tasks = tasks_of(place, [AMPLE_USD], players=[WARM], seeds=1)
    found = {task: run_task(place, task) for task in tasks if task.experiment == "price_cut"}
    as_peers = {replace(task, player=LIKE): run for task, run in found.items()}
    assert [ours.player for _, ours in tasks_with_the_money_of(as_peers, player=LIKE)] == ["default", WARM]
    assert f"| {WARM} | {LIKE} | +0.0000" in changes_tables(place, {**found, **as_peers})
