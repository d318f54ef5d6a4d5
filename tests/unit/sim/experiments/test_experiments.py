"""A peer hears what a scenario changes, and its money is as hard as anybody's."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bandit_router_sim.compare.contexts import contexts_of, whitened
from bandit_router_sim.experiments.delays import CASES, PROMPT, losses, settings_of_delays
from bandit_router_sim.experiments.peer import PeerReplay
from bandit_router_sim.experiments.runs import EXPERIMENTS, ground_of, inner_budgets, run_all, tasks_of
from bandit_router_sim.experiments.tables import changes_tables, delays_table
from bandit_router_sim.kept.cache import ResultCache
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.peers.runner import run_peer
from bandit_router_sim.replay.named import newcomer
from bandit_router_sim.replay.result import REFUSED, RunResult
from bandit_router_sim.replay.scenario import ArmChange, PriceChange, QualityChange, Scenario, ScenarioError
from bandit_router_sim.replay.setting import POLICIES, Material, Setting
from bandit_router_sim.replay.sweep import finish
from tests.unit.sim.compare.compare_logs import ARM_IDS, make_material

COUNT = 160
BUDGET_USD = 6e-4
SMALL, MEDIUM, LARGE = range(3)
PEER = "paretobandit"


@pytest.fixture(scope="module")
def material() -> Material:
    if reason := PEERS[PEER].why_not(ARM_IDS):
        pytest.skip(reason)
    return make_material(COUNT)


def replay_of(
    material: Material, *changes: PriceChange | QualityChange | ArmChange, budget_usd: float = BUDGET_USD
) -> PeerReplay:
    setting = Setting(POLICIES["default"], budget_usd, 3, 0.25, Scenario(changes=changes))
    return PeerReplay(material, setting, whitened(contexts_of(material)), warm=False)


def chosen_in(result: RunResult, phase: int) -> set[int]:
    return set(result.trace.chosen[result.trace.phases == phase].tolist())


def test_without_changes_a_peer_does_what_it_does_in_comparisons(material: Material) -> None:
    result = replay_of(material).run()
    outcome = run_peer(
        material,
        PEERS[PEER].make,
        name=PEER,
        budget_usd=BUDGET_USD,
        seed=3,
        learn_share=0.25,
        contexts=whitened(contexts_of(material)),
    )
    assert result.trace.chosen[result.trace.is_reported].tolist() == np.asarray(outcome.details["chosen"]).tolist()


def test_a_peer_is_told_of_new_prices_and_pays_them(material: Material) -> None:
    replay = replay_of(material, PriceChange(0.5, ARM_IDS[LARGE], factor=0.01))
    usual = replay.peer.price_of(ARM_IDS[LARGE])
    result = replay.run()
    assert replay.peer.price_of(ARM_IDS[LARGE]) == pytest.approx(0.01 * usual)
    paid = (result.trace.phases == 1) & (result.trace.chosen == LARGE)
    assert paid.any()
    usual_usd = material.log.costs_usd[result.trace.rows[paid], LARGE]
    np.testing.assert_allclose(result.trace.costs_usd[paid], 0.01 * usual_usd)


def test_a_peer_knows_a_new_arm_from_its_arrival_on_and_not_before(material: Material) -> None:
    replay = replay_of(material, ArmChange(0.5, ARM_IDS[MEDIUM], "add"), budget_usd=1.0)
    with pytest.raises(KeyError):
        replay.peer.price_of(ARM_IDS[MEDIUM])
    result = replay.run()
    assert replay.peer.price_of(ARM_IDS[MEDIUM]) > 0.0
    assert MEDIUM not in chosen_in(result, -1) | chosen_in(result, 0)


def test_an_arm_whose_price_changes_before_it_joins_joins_at_the_new_price(material: Material) -> None:
    plain = replay_of(material, ArmChange(0.5, ARM_IDS[MEDIUM], "add"))
    cheap = replay_of(material, PriceChange(0, ARM_IDS[MEDIUM], factor=0.5), ArmChange(0.5, ARM_IDS[MEDIUM], "add"))
    for replay in (plain, cheap):
        replay.run()
    assert cheap.peer.price_of(ARM_IDS[MEDIUM]) == pytest.approx(0.5 * plain.peer.price_of(ARM_IDS[MEDIUM]))


def test_a_peer_never_spends_more_than_there_is(material: Material) -> None:
    budget_usd = 1.05 * float(material.log.costs_usd[:, SMALL].mean())
    result = replay_of(material, budget_usd=budget_usd).run()
    reported = result.trace.is_reported
    assert (result.trace.chosen == REFUSED).any()
    assert result.trace.costs_usd[reported].sum() <= result.trace.money_usd[reported].sum()


def test_in_no_window_a_peer_spends_more_than_its_part(material: Material) -> None:
    budget_usd = 1.05 * float(material.log.costs_usd[:, SMALL].mean())
    scenario = Scenario(windows=3)
    trace = (
        PeerReplay(
            material,
            Setting(POLICIES["default"], budget_usd, 3, 0.25, scenario),
            whitened(contexts_of(material)),
            warm=False,
        )
        .run()
        .trace
    )
    reported = int(trace.is_reported.sum())
    spent_usd = [trace.costs_usd[trace.windows == window].sum() for window in range(3)]
    assert max(spent_usd) <= budget_usd * reported / 3 + 1e-9
    assert sum(spent_usd) > 0.9 * budget_usd * reported
    refused = [(trace.chosen[trace.windows == window] == REFUSED) for window in range(3)]
    assert any(one.any() and not two[0] for one, two in pairwise(refused))


@pytest.mark.parametrize("field", [{"reward_delay": 3}, {"carry_over": True}, {"reward_rate": 0.5}])
def test_what_a_peer_cannot_be_told_is_refused(material: Material, field: dict[str, float]) -> None:
    setting = Setting(POLICIES["default"], BUDGET_USD, 0, scenario=replace(Scenario(), **field))
    with pytest.raises(ScenarioError, match="peer"):
        PeerReplay(material, setting, whitened(contexts_of(material)), warm=False)


def test_all_experiments_are_played_once_and_then_kept(material: Material, tmp_path: Path) -> None:
    ground = ground_of(material, players=["default", PEER])
    tasks = tasks_of(ground, inner_budgets(material)[:1], players=["default", PEER], seeds=1)
    found = dict(run_all(ground, tasks, ResultCache(tmp_path), jobs=1))
    again = dict(run_all(ground, tasks, ResultCache(tmp_path), jobs=1))
    assert {task.experiment for task in found} == set(EXPERIMENTS)
    assert [found[task].row for task in tasks] == [again[task].row for task in tasks]
    text = changes_tables(ground, found)
    assert all(f"| {experiment} |" in text for experiment in EXPERIMENTS)
    column = material.log.arm_ids.index(newcomer(material.log))
    cheap = next(task for task in tasks if task.experiment == "cheap_arm_added" and task.player == "default")
    assert not (found[cheap].details["arm"][found[cheap].details["phase"] == 0] == column).any()


def test_losses_are_against_prompt_feedback_in_the_same_order(material: Material) -> None:
    settings = settings_of_delays([BUDGET_USD], seeds=1)
    found = losses([(setting, finish(material, setting)) for setting in settings], queries=COUNT)
    assert [loss.case for loss in found] == list(CASES)
    assert found[0].case == PROMPT
    assert found[0].loss.mean == 0.0
    by_means = found[0].reward_mean - found[-1].reward_mean
    assert found[-1].loss.mean == pytest.approx(by_means, abs=1e-6)
    held_in_full, by_quantile = (
        [loss for loss in found if (loss.case.policy == "default") is yes] for yes in (True, False)
    )
    assert all(loss.utilisation_most <= 1.0 for loss in held_in_full)
    assert [loss.refusals for loss in by_quantile] < [held_in_full[-1].refusals]
    assert delays_table(found).count("\n| ") == 1 + len(CASES) + 1
