from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.ope.frontier import frontier
from bandit_router_sim.ope.policies import PricedPolicy
from bandit_router_sim.ope.prepare import Options
from tests.unit.sim.ope.ope_logs import small_log, small_population, uniform_log

PRICES = (0.0, 5.0, 20.0, 60.0, 200.0, 1000.0)
TAU = 300.0
OPTIONS = Options(resamples=200)
CAUTIOUS = Options(resamples=1000, level=0.999)


def test_rewards_at_a_budget_are_those_of_the_mixture_of_the_neighbouring_prices() -> None:
    found = frontier(uniform_log(), PRICES, OPTIONS, tau=TAU)
    left, right = found.points[2], found.points[3]
    assert left.cost_usd > right.cost_usd
    reading = found.read(0.5 * (left.cost_usd + right.cost_usd))
    assert reading.reward == pytest.approx(0.5 * (left.reward + right.reward))
    assert found.read(left.cost_usd).reward == pytest.approx(left.reward)


def test_the_truth_lies_within_the_interval_of_the_reading() -> None:
    source = small_population()
    values = [source.value(PricedPolicy(price, TAU)) for price in PRICES]
    budget = 0.5 * (values[2][1] + values[3][1])
    truth = 0.5 * (values[2][0] + values[3][0])
    reading = frontier(uniform_log(rows=3000), PRICES, CAUTIOUS, tau=TAU).read(budget)
    assert reading.interval is not None
    assert reading.interval.covers(truth)
    assert reading.interval.width < 0.06
    assert reading.unreached_share == 0.0


def test_a_budget_above_what_the_lowest_price_spends_buys_just_that() -> None:
    found = frontier(uniform_log(), PRICES, OPTIONS, tau=TAU)
    assert found.read(1.0).reward == found.points[0].reward


def test_a_budget_below_the_highest_price_is_out_of_reach() -> None:
    reading = frontier(uniform_log(), PRICES, OPTIONS, tau=TAU).read(1e-7)
    assert reading.refusal is not None
    assert reading.refusal.code == "out_of_reach"
    assert np.isnan(reading.reward)


def test_prices_may_come_in_any_order_and_one_is_enough() -> None:
    log = uniform_log()
    found = frontier(log, PRICES[::-1], OPTIONS, tau=TAU)
    assert [point.price_per_usd for point in found.points] == sorted(PRICES)
    single = frontier(log, [20.0], OPTIONS, tau=TAU)
    assert single.read(1.0).reward == pytest.approx(found.points[2].reward)
    assert single.read(1e-7).refusal is not None


def test_the_joint_interval_is_narrower_than_one_that_ignores_the_correlation() -> None:
    """Cost estimates move with reward estimates: reading every replicate anew follows them."""
    found = frontier(uniform_log(), PRICES, OPTIONS, tau=TAU)
    joint = found.read(found.points[2].cost_usd).interval
    shuffled = replace(found, costs_usd=found.costs_usd[::-1]).read(found.points[2].cost_usd).interval
    assert joint is not None
    assert shuffled is not None
    assert joint.width <= 1.1 * shuffled.width


def test_a_reading_that_rests_on_a_refused_price_is_refused() -> None:
    found = frontier(small_log(PricedPolicy(0.0, 3000.0), rows=800), PRICES, OPTIONS, tau=3000.0)
    refused = [point.refusal is not None for point in found.points]
    assert refused[-1]
    assert not refused[0]
    reading = found.read(0.5 * (found.points[-2].cost_usd + found.points[-1].cost_usd))
    assert reading.refusal is not None
    assert reading.refusal.code == "few_effective_rows"


def test_a_log_without_propensities_has_no_frontier() -> None:
    log = small_log(rows=50)
    found = frontier(replace(log, propensities=np.full((50, 3), np.nan)), PRICES, OPTIONS)
    assert found.points == ()
    assert found.refusal is not None
    assert found.read(0.001).refusal == found.refusal
    assert found.as_dict([0.001])["refusal"]["code"] == "missing_propensities"


def test_an_estimator_that_cannot_vouch_for_its_intervals_is_not_taken() -> None:
    with pytest.raises(ValueError, match="no intervals of its own; choose one of ips"):
        frontier(small_log(rows=300), PRICES, OPTIONS, estimator="dm")
