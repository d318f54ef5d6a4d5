from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.ope.comparison import compare
from bandit_router_sim.ope.estimators import ESTIMATORS
from bandit_router_sim.ope.evaluate import OutcomeEvaluation, evaluate
from bandit_router_sim.ope.missing import rows_of
from bandit_router_sim.ope.policies import PricedPolicy, Situations, TargetPolicy, fixed_arm, logging_policy
from bandit_router_sim.ope.prepare import Options, prepare
from bandit_router_sim.ope.synthesis import simulate
from tests.unit.sim.ope.ope_logs import (
    ARMS,
    LARGE_USD,
    LOGGING,
    TARGET,
    small_log,
    small_population,
    uniform_log,
    with_rewards,
)

QUICK = Options(resamples=200)
CAUTIOUS = Options(resamples=1000, level=0.999)


def rewards_of(log_policy: TargetPolicy = LOGGING, options: Options = QUICK, **changes: object) -> OutcomeEvaluation:
    found = evaluate(replace(small_log(log_policy), **changes), TARGET, options).reward  # type: ignore[arg-type]
    assert found is not None
    return found


def test_estimates_of_reward_and_cost_are_near_the_truth() -> None:
    truth_reward, truth_cost = small_population().value(TARGET)
    found = evaluate(small_log(rows=3000), TARGET, CAUTIOUS)
    assert found.refusal is None
    assert found.reward is not None
    assert found.cost is not None
    for name in ESTIMATORS:
        assert found.reward.readings[name].value == pytest.approx(truth_reward, abs=0.03)
        assert found.cost.readings[name].value == pytest.approx(truth_cost, rel=0.15)
    assert found.reward.readings["dr"].normal.covers(truth_reward)
    assert found.cost.readings["dr"].normal.covers(truth_cost)


def test_an_evaluation_repeats_and_its_seed_matters_only_for_resampling() -> None:
    log = small_log()
    assert evaluate(log, TARGET, QUICK) == evaluate(log, TARGET, QUICK)
    other = evaluate(log, TARGET, replace(QUICK, seed=1))
    first = evaluate(log, TARGET, QUICK)
    assert first.reward is not None
    assert other.reward is not None
    assert other.reward.readings["dr"].normal == first.reward.readings["dr"].normal
    assert other.reward.readings["dr"].bootstrap != first.reward.readings["dr"].bootstrap


def test_a_report_is_json() -> None:
    log = small_log()
    text = json.dumps(evaluate(log, TARGET, QUICK).as_dict(), allow_nan=False)
    assert json.loads(text)["reward"]["readings"]["dr"]["parameter"] is None
    refused = evaluate(replace(log, propensities=log.propensities * np.nan), TARGET, QUICK)
    assert json.loads(json.dumps(refused.as_dict(), allow_nan=False))["refusal"]["code"] == "missing_propensities"


def test_the_logging_policy_earned_what_the_log_earned() -> None:
    log = small_log()
    found = evaluate(log, logging_policy(log), QUICK)
    assert found.reward is not None
    assert found.reward.readings["ips"].value == pytest.approx(log.rewards.mean())
    assert found.reward.weights is not None
    assert found.reward.weights.effective_rows == pytest.approx(len(log))


def test_few_effective_rows_give_figures_but_no_readings_unless_forced() -> None:
    narrow = small_log(PricedPolicy(0.0, 3000.0), rows=800)
    far = PricedPolicy(2000.0, 3000.0)
    found = evaluate(narrow, far, QUICK).reward
    assert found is not None
    assert found.refusal is not None
    assert found.readings == {}
    assert found.not_guaranteed_because == "refused"
    assert found.weights is not None
    forced = evaluate(narrow, far, replace(QUICK, is_forced=True)).reward
    assert forced is not None
    assert set(forced.readings) == set(ESTIMATORS)


def test_replay_is_offered_on_uniform_logs_only() -> None:
    assert "replay" not in rewards_of().readings
    found = evaluate(uniform_log(), fixed_arm(ARMS, "middle"), QUICK).reward
    assert found is not None
    agreed = uniform_log().actions == 1
    assert found.readings["replay"].value == pytest.approx(uniform_log().rewards[agreed].mean())


def test_estimators_led_by_the_model_get_intervals_as_wide_as_doubly_robust() -> None:
    found = rewards_of()
    for name in ("dm", "switch_dr", "dros"):
        assert found.readings[name].normal.width == pytest.approx(found.readings["dr"].normal.width)
        centre = 0.5 * (found.readings[name].normal.low + found.readings[name].normal.high)
        assert centre == pytest.approx(found.readings[name].value)


def test_missing_rewards_are_weighted_and_not_taken_for_zero() -> None:
    source = small_population(reward_chances=np.tile([0.9, 0.6, 0.3], (600, 1)))
    truth = source.value(TARGET)[0]
    log = simulate(source, LOGGING, rows=3000, seed=3)
    found = evaluate(log, TARGET, CAUTIOUS).reward
    assert found is not None
    assert found.readings["dr"].normal.covers(truth)
    assert found.missing_rate_by_arm["large"] == pytest.approx(0.7, abs=0.06)
    assert found.guaranteed == {}
    assert "missing" in found.not_guaranteed_because
    naive = evaluate(with_rewards(log, np.nan_to_num(log.rewards)), TARGET, QUICK).reward
    assert naive is not None
    assert naive.readings["dr"].value < truth - 0.1


def test_young_decisions_can_be_left_out() -> None:
    log = small_log(rows=2000)
    young = np.arange(2000) >= 1500
    late = with_rewards(log, np.where(young, np.nan, log.rewards))
    found = evaluate(late, TARGET, replace(QUICK, maturity_ms=500_000))
    assert found.rows == 1500
    assert found.reward is not None
    assert found.reward.missing_rate_by_arm["small"] == 0.0
    assert evaluate(late, TARGET, replace(QUICK, maturity_ms=10**9)).refusal is not None


def test_guaranteed_intervals_need_bounds_and_independent_rows() -> None:
    truth_reward, truth_cost = small_population().value(TARGET)
    bound = float(small_population().log.costs_usd.max())
    found = evaluate(small_log(), TARGET, replace(QUICK, cost_bound_usd=bound))
    assert found.reward is not None
    assert found.cost is not None
    assert set(found.cost.guaranteed) == {"bernstein_ips", "sequence_ips", "sequence_dr"}
    assert all(interval.covers(truth_reward) for interval in found.reward.guaranteed.values())
    assert all(interval.covers(truth_cost) for interval in found.cost.guaranteed.values())
    unbounded = evaluate(small_log(), TARGET, QUICK).cost
    assert unbounded is not None
    assert "bound" in unbounded.not_guaranteed_because
    exceeded = evaluate(small_log(), TARGET, replace(QUICK, cost_bound_usd=LARGE_USD / 2)).cost
    assert exceeded is not None
    assert "outside" in exceeded.not_guaranteed_because
    sessions = tuple(f"session {index // 3}" for index in range(1500))
    assert "session" in rewards_of(sessions=sessions).not_guaranteed_because


def test_sessions_widen_intervals_when_their_rows_are_alike() -> None:
    log = small_log(rows=500)
    three_times = np.repeat(np.arange(500), 3)
    copied = rows_of(log, three_times)
    clustered = replace(copied, sessions=tuple(f"session {index}" for index in three_times))
    alone, together = (evaluate(part, TARGET, QUICK).reward for part in (copied, clustered))
    assert alone is not None
    assert together is not None
    for kind in ("normal", "bootstrap"):
        narrow, wide = (getattr(found.readings["snips"], kind).width for found in (alone, together))
        assert wide > 1.4 * narrow


def test_a_difference_is_known_better_than_its_parts() -> None:
    log = small_log(rows=3000)
    source = small_population()
    close = PricedPolicy(price_per_usd=35.0, tau=60.0)
    prepared = prepare(log, CAUTIOUS)
    first, second = (policy(Situations.of(log)) for policy in (TARGET, close))
    reward, cost = compare(prepared, first, second)
    assert reward.normal is not None
    assert cost.bootstrap is not None
    assert reward.normal.covers(source.value(close)[0] - source.value(TARGET)[0])
    assert cost.bootstrap.covers(source.value(close)[1] - source.value(TARGET)[1])
    alone = evaluate(log, TARGET, CAUTIOUS).reward
    assert alone is not None
    assert reward.normal.width < 0.5 * alone.readings["dr"].normal.width


def test_a_difference_from_a_policy_without_support_is_refused() -> None:
    log = small_log(rows=300)
    bad = np.full((300, 3), np.nan)
    reward, _ = compare(prepare(log, QUICK), log.propensities, bad)
    assert reward.refusal is not None
    assert reward.normal is None
