"""Decision logs lived through again, against the truth of a full-information log."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.ope.estimators import dr
from bandit_router_sim.ope.outcome_models import REWARD
from bandit_router_sim.pigeonhole import central, replicate_means
from bandit_router_sim.replay.order import order_of, random_of
from bandit_router_sim.replay.setting import ArmPricing, Policy, Setting
from bandit_router_sim.replay.sweep import replay_one
from bandit_router_sim.tune.counterfactual import _readings, counterfactuals, live
from bandit_router_sim.tune.past import CannotRelive, matched, material_of, past_of, prompt_tokens_of
from tests.unit.sim.tune.tune_logs import LOGGED_USD, logged, relived, world

SERVED = Policy(learner="linucb", exploration="igw:tau=1500", dimension=8)
CALM = Policy(learner="linucb", exploration="igw:tau=100", dimension=8)


def truth(policy: Policy, budget_usd: float) -> tuple[float, float]:
    """Quality and spend of real replays at the budget."""
    runs = [replay_one(world(), Setting(policy, budget_usd, seed, learn_share=0.0)).trace for seed in range(2)]
    return float(np.mean([run.rewards.mean() for run in runs])), float(np.mean([run.costs_usd.mean() for run in runs]))


@pytest.mark.parametrize("policy", [CALM, SERVED])
def test_the_truth_at_other_budgets_lies_within_most_intervals(policy: Policy) -> None:
    inside = []
    budgets = (4e-4, 2.0 * LOGGED_USD)
    for budget_usd, found in zip(budgets, counterfactuals(relived(), policy, budgets, seeds=2), strict=True):
        assert found.refusal is None
        assert found.quality is not None
        assert found.spend_usd is not None
        quality, spend_usd = truth(policy, budget_usd)
        inside.append(found.quality.low <= quality <= found.quality.high)
        inside.append(found.spend_usd.low <= spend_usd <= found.spend_usd.high)
    assert sum(inside) >= 3


def test_more_money_buys_more_and_the_price_of_money_falls() -> None:
    little, much = counterfactuals(relived(), CALM, [4e-4, 2e-3], seeds=2)
    assert little.quality is not None
    assert much.quality is not None
    assert much.quality.value > little.quality.value
    assert np.mean(much.price_path) < np.mean(little.price_path)


def test_the_loop_keeps_its_limit_in_its_own_world() -> None:
    past = relived()
    lived = live(past, CALM, 4e-4, seed=0)
    assert 0.8 * 4e-4 < lived.costs_usd.mean() <= 4e-4


def test_the_same_seed_lives_the_same_life() -> None:
    first, second = (live(relived(), SERVED, LOGGED_USD, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.chances, second.chances)


def test_choices_are_distributions_over_the_arms_that_are_left() -> None:
    past = past_of(logged(), list_prices=world().prices, without=("medium",))
    lived = live(past, CALM, LOGGED_USD, seed=0)
    np.testing.assert_allclose(lived.chances.sum(axis=1), 1.0)
    assert not lived.chances[:, logged().arm_ids.index("medium")].any()


def test_a_replay_meets_the_log_in_its_own_order() -> None:
    past = relived()
    material = material_of(past, seed=5)
    met = order_of(len(past.log), random_of(5))
    np.testing.assert_array_equal(material.embeddings[met], past.log.contexts[:, 2:])
    assert [material.log.query_ids[row] for row in met] == list(past.log.decision_ids)


def test_the_context_tells_the_prompt_tokens() -> None:
    by_query = {f"query {index}": -(-len(f"query {index}") // 4) for index in range(900)}
    assert set(prompt_tokens_of(logged()).tolist()) == set(by_query.values())


def test_a_matched_outcome_is_the_rows_own_or_one_that_the_arm_really_had() -> None:
    past = relived()
    log, outcome = past.log, past.prepared.reward
    values = matched(outcome, log.actions, 1, np.random.Generator(np.random.PCG64(0)))
    own = log.actions == 1
    np.testing.assert_array_equal(values[own], log.rewards[own])
    assert set(values.tolist()) <= set(log.rewards[own].tolist())
    assert outcome.kind is REWARD


def test_a_rows_own_outcome_has_no_part_in_what_its_other_arms_bring() -> None:
    log, mark = logged(), 0.123456789
    for row in (0, 450, 899):
        rewards = log.rewards.copy()
        rewards[row] = mark
        marked = past_of(replace(log, rewards=rewards), list_prices=world().prices).prepared.reward
        np.testing.assert_array_equal(marked.predictions[row], relived().prepared.reward.predictions[row])
        for seed, arm in itertools.product(range(20), range(3)):
            values = matched(marked, log.actions, arm, np.random.Generator(np.random.PCG64(seed)))
            assert (values[row] == mark) == (arm == log.actions[row])


def test_twice_the_list_price_doubles_the_bills_of_that_arm_alone() -> None:
    old = world().prices["small"]
    new = replace(old, output_usd_per_mtok=str(2 * float(old.output_usd_per_mtok)))
    past = past_of(logged(), list_prices=world().prices, reprices={"small": new})
    ratio = past.log.costs_usd / logged().costs_usd
    np.testing.assert_allclose(ratio[logged().actions == 0], 2.0)
    np.testing.assert_allclose(ratio[logged().actions != 0], 1.0)


def test_arms_without_known_prices_are_priced_by_their_dearest_bill() -> None:
    assert set(past_of(logged(), list_prices={}).prices) == set(logged().arm_ids)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"without": ("huge",)}, "unknown_arm"),
        ({"without": ("small", "medium", "large")}, "no_arm"),
        ({"reprices": {"small": ArmPricing("1", "1", 10)}, "list_prices": {}}, "no_list_price"),
    ],
)
def test_a_question_that_the_log_cannot_answer_is_refused(change: dict[str, object], code: str) -> None:
    with pytest.raises(CannotRelive) as caught:
        past_of(logged(), **{"list_prices": world().prices, **change})  # type: ignore[arg-type]
    assert caught.value.refusal.code == code


def test_logs_that_cannot_be_lived_through_are_refused() -> None:
    log = logged()
    spoiled = {
        "missing_propensities": replace(log, propensities=np.full_like(log.propensities, np.nan)),
        "several_tenants": replace(log, tenant_ids=("other", *log.tenant_ids[1:])),
        "foreign_contexts": replace(log, contexts=log.contexts[:, 1:]),
        "few_outcomes": replace(log, rewards=np.where(log.actions == 2, np.nan, log.rewards)),
    }
    for code, bad in spoiled.items():
        with pytest.raises(CannotRelive) as caught:
            past_of(bad, list_prices={})
        assert caught.value.refusal.code == code


def test_few_effective_rows_are_refused_unless_forced_and_missing_support_always() -> None:
    past = relived(300)
    refused, forced = (counterfactuals(past, SERVED, [4e-4], seeds=1, is_forced=force)[0] for force in (False, True))
    assert refused.refusal is not None
    assert refused.refusal.code == "few_effective_rows"
    assert refused.quality is None
    assert forced.quality is not None
    log = logged()
    blind = replace(log, propensities=np.where(np.arange(3) == log.actions[:, None], 1.0, 0.0))
    found = counterfactuals(past_of(blind, list_prices={}), CALM, [LOGGED_USD], seeds=1, is_forced=True)[0]
    assert found.refusal is not None
    assert found.refusal.code == "no_support"


def test_chances_beyond_the_support_widen_the_interval_by_what_they_could_hide() -> None:
    log = logged()
    hidden = np.where((np.arange(len(log)) % 50 == 0)[:, None] & (np.arange(3) != log.actions[:, None]), 0.0, 1.0)
    partly = log.propensities * hidden
    past = past_of(replace(log, propensities=partly / partly.sum(axis=1, keepdims=True)), list_prices={})
    chances = np.full((1, len(log), 3), 1.0 / 3.0)
    quality, spend = _readings(past, chances)
    values = [dr(each.rows(chances[0], past.log)).row_values for each in (past.prepared.reward, past.prepared.cost)]
    replicates = replicate_means(np.array(values)[:, None, :], np.ones((1, len(log)), dtype=np.bool_))
    for reading, column, most in ((quality, 0, 1.0), (spend, 1, float(np.nanmax(log.costs_usd)))):
        low, high = central(replicates[:, column])
        dark = float(np.mean(chances[0] * (past.log.propensities == 0.0)) * 3)
        assert reading.low < low
        assert (reading.high - reading.low) - (high - low) == pytest.approx(dark * most)


def test_results_are_json() -> None:
    found = counterfactuals(relived(300), CALM, [LOGGED_USD], seeds=1)[0]
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["rows"] == 300
    assert len(plain["price_path"]) == 10
