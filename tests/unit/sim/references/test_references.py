from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.frontier import hindsight_reward, static_mix_reward
from bandit_router_sim.compare.replayed import outcome_of_replay
from bandit_router_sim.references.clairvoyant import choose
from bandit_router_sim.references.hindsight_lp import best_shares
from bandit_router_sim.references.knn import nearest
from bandit_router_sim.references.learning import NothingToLearnFrom
from bandit_router_sim.references.paced import spend_on_predictions
from bandit_router_sim.references.registry import REFERENCES
from bandit_router_sim.references.static_mix import best_mix
from bandit_router_sim.references.supervised_ridge import fit_ridge
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import POLICIES, Setting
from bandit_router_sim.replay.sweep import replay_one
from tests.builders import FEW, PROPERTY, generator
from tests.unit.sim.compare.compare_logs import make_material, with_other_outcomes

Array = npt.NDArray[np.float64]

BUDGET_USD = 6e-4
LEARNERS = ("supervised_ridge", "knn")


def outcomes_of(seed: int, count: int, arms: int) -> tuple[Array, Array]:
    source = generator(seed)
    costs = np.geomspace(1e-3, 1.0, arms) * source.uniform(0.5, 2.0, size=(count, arms))
    rewards = np.clip(np.linspace(0.3, 0.9, arms) + 0.2 * source.normal(size=(count, arms)), 0, 1)
    return costs, rewards


cases = st.builds(outcomes_of, st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 4))
budgets = st.floats(1e-4, 2.0)


@given(cases, budgets)
@PROPERTY
def test_the_mix_earns_what_the_core_says_a_static_mix_earns(case: tuple[Array, Array], budget: float) -> None:
    costs, rewards = case
    mix = best_mix(costs.mean(axis=0), rewards.mean(axis=0), spend_usd=budget)
    assert mix @ rewards.mean(axis=0) == pytest.approx(static_mix_reward(costs, rewards, spend_usd=budget))
    assert mix @ costs.mean(axis=0) <= budget * (1 + 1e-9)
    assert (mix >= 0).all()
    assert mix.sum() <= 1 + 1e-9


@given(cases, budgets)
@FEW
def test_the_linear_programme_agrees_with_the_envelopes_of_the_core(case: tuple[Array, Array], budget: float) -> None:
    costs, rewards = case
    shares = best_shares(costs, rewards, spend_usd=budget)
    assert (shares * rewards).sum() / len(costs) == pytest.approx(
        hindsight_reward(costs, rewards, spend_usd=budget), abs=1e-7
    )


@given(cases, budgets)
@FEW
def test_clairvoyant_choices_stay_in_the_budget_and_under_the_relaxation(
    case: tuple[Array, Array], budget: float
) -> None:
    costs, rewards = case
    chosen = choose(costs, rewards, money_usd=budget * len(costs))
    served = np.flatnonzero(chosen != REFUSED)
    assert costs[served, chosen[served]].sum() <= budget * len(costs) * (1 + 1e-9)
    earned = rewards[served, chosen[served]].sum() / len(costs)
    assert earned <= hindsight_reward(costs, rewards, spend_usd=budget) + 1e-9


def test_more_knowledge_earns_more() -> None:
    material = make_material(1200)
    reward = {
        name: reference(material, budget_usd=BUDGET_USD, seed=0, learn_share=0.5).summary()["reward_mean"]
        for name, reference in REFERENCES.items()
    }
    assert reward["static_mix"] + 0.02 < reward["knn"] < reward["supervised_ridge"] < reward["clairvoyant"] - 0.01
    assert reward["clairvoyant"] <= reward["hindsight_lp"] < reward["clairvoyant"] + 0.005


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_reports_the_stretch_that_a_replay_reports_and_stays_in_its_budget(name: str) -> None:
    material = make_material(120)
    replayed = outcome_of_replay(
        replay_one(material, Setting(POLICIES["default"], BUDGET_USD, 3)), arms=len(material.log.arm_ids)
    ).summary()
    found = REFERENCES[name](material, budget_usd=BUDGET_USD, seed=3, learn_share=0.5).summary()
    assert found.keys() == replayed.keys()
    assert found["n"] == replayed["n"] == 60
    assert found["utilisation"] <= 1 + 1e-6
    assert found["overspend"] == pytest.approx(0, abs=1e-6)


def test_a_replay_and_the_references_share_one_order() -> None:
    material = make_material(50)
    trace = replay_one(material, Setting(POLICIES["default"], BUDGET_USD, 11, learn_share=0.3)).trace
    learning, reported = stretches(50, seed=11, learn_share=0.3)
    assert np.array_equal(trace.rows[~trace.is_reported], learning)
    assert np.array_equal(trace.rows[trace.is_reported], reported)


@pytest.mark.parametrize("name", LEARNERS)
def test_outcomes_after_a_choice_do_not_change_it(name: str) -> None:
    material = make_material(300)
    _, reported = stretches(300, seed=0, learn_share=0.5)
    half = len(reported) // 2
    other = with_other_outcomes(material, reported[half:])
    first, second = (REFERENCES[name](m, budget_usd=BUDGET_USD, seed=0, learn_share=0.5) for m in (material, other))
    assert np.array_equal(first.rewards[:half], second.rewards[:half])
    assert np.array_equal(first.costs_usd[:half], second.costs_usd[:half])
    assert not np.array_equal(first.rewards[half:], second.rewards[half:])


@pytest.mark.parametrize("name", LEARNERS)
def test_a_reference_that_learns_says_so_when_there_is_nothing_to_learn_from(name: str) -> None:
    with pytest.raises(NothingToLearnFrom, match="learn_share 0"):
        REFERENCES[name](make_material(20), budget_usd=BUDGET_USD, seed=0, learn_share=0.0)


def test_spending_on_predictions_refuses_what_no_longer_fits() -> None:
    ones = np.ones((10, 1))
    chosen = spend_on_predictions(ones, ones, bills_usd=ones, money_usd=4.5)
    assert chosen.tolist() == [0] * 4 + [REFUSED] * 6


def test_the_ridge_solution_is_that_of_its_normal_equations() -> None:
    source = generator(0)
    contexts = np.column_stack([np.ones(40), source.normal(size=(40, 3))])
    targets = source.normal(size=(40, 2))
    weights = fit_ridge(contexts, targets)
    penalty = weights * np.array([0.0, 1.0, 1.0, 1.0])[:, None]
    assert np.allclose(contexts.T @ (targets - contexts @ weights), penalty)


def test_the_nearest_are_those_of_the_largest_dot_products() -> None:
    known, queries = generator(1).normal(size=(30, 4)), generator(2).normal(size=(7, 4))
    found = nearest(known, queries, count=5)
    exact = np.argsort(-(queries @ known.T), axis=1)[:, :5]
    assert np.array_equal(np.sort(found), np.sort(exact))
