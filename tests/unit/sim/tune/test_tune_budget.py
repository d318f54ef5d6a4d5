"""Frontiers and their readings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router_sim.compare.intervals import paired_interval
from bandit_router_sim.ope.prepare import Options
from bandit_router_sim.pigeonhole import central, replicate_means
from bandit_router_sim.replay.setting import Policy
from bandit_router_sim.tune.budget import NoFrontier, budget_grid, evaluated, replayed
from bandit_router_sim.tune.plot import as_html
from bandit_router_sim.tune.reading import Curve, budget_for, quality_of
from tests.builders import generator
from tests.unit.sim.tune.tune_logs import logged, world

CURVE = Curve(
    usd=np.array([1.0, 2.0, 4.0]),
    quality=np.array([0.5, 0.7, 0.8]),
    usd_replicates=np.tile([1.0, 2.0, 4.0], (3, 1)),
    quality_replicates=np.array([[0.4, 0.6, 0.7], [0.5, 0.7, 0.8], [0.6, 0.8, 0.9]]),
)


def test_readings_are_on_the_lines_between_the_points() -> None:
    assert quality_of(CURVE, 3.0).value == pytest.approx(0.75)
    assert budget_for(CURVE, 0.6).value == pytest.approx(1.5)


def test_intervals_hold_the_readings_of_the_replicates() -> None:
    advice = quality_of(CURVE, 2.0)
    assert 0.6 <= advice.low < advice.value < advice.high <= 0.8


def test_nothing_is_extrapolated() -> None:
    for advice in (quality_of(CURVE, 0.9), quality_of(CURVE, 4.1), budget_for(CURVE, 0.81), budget_for(CURVE, 0.4)):
        assert "nothing is extrapolated" in advice.refusal
        assert math.isnan(advice.value)


def test_replicates_that_do_not_reach_are_counted_and_left_out() -> None:
    advice = budget_for(CURVE, 0.75)
    assert advice.unreached_share == pytest.approx(1.0 / 3.0)
    assert advice.high <= 4.0


@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3), st.floats(1.0, 4.0))
def test_the_budget_for_what_a_budget_buys_is_not_above_it(quality: list[float], usd: float) -> None:
    rows = np.array([quality])
    curve = Curve(CURVE.usd, rows[0], CURVE.usd_replicates[:1], rows)
    bought = quality_of(curve, usd).value
    assert budget_for(curve, bought).value <= usd + 1e-9


def test_replicates_resample_as_paired_intervals_do_and_pair_the_means() -> None:
    random = generator(3)
    cells = random.random((2, 4, 50))
    stack = np.stack([cells[0], cells[0] + 0.25])
    present = random.random((4, 50)) < 0.5
    replicates = replicate_means(stack, present)
    np.testing.assert_allclose(replicates[:, 1] - replicates[:, 0], 0.25)
    other = paired_interval(stack[0], present)
    np.testing.assert_allclose(central(replicates[:, 0]), (other.low, other.high), atol=0.02)


def test_a_replayed_frontier_rises_with_money_and_reads_both_ways() -> None:
    material = world(300)
    grid = budget_grid(material.log, 4)
    found = replayed(material, Policy(dimension=8), grid, seeds=2, learn_share=0.5)
    assert [point.usd for point in found.points] == grid
    assert found.points[-1].quality > found.points[0].quality
    assert all(point.low <= point.quality <= point.high for point in found.points)
    assert all(point.spend_usd <= point.usd * (1.0 + 1e-9) for point in found.points)
    middle = found.points[1]
    assert found.quality_of(middle.usd).value == pytest.approx(max(point.quality for point in found.points[:2]))
    assert found.points[0].quality < 0.99
    assert found.budget_for(0.99).refusal
    page = as_html(found)
    assert found.log in page
    assert "<script src=" not in page


def test_a_decision_logs_frontier_rests_on_points_that_can_be_trusted() -> None:
    found = evaluated(logged(), tau=25.0)
    spends = [point.usd for point in found.points]
    assert spends == sorted(spends)
    middle = 0.5 * (spends[0] + spends[-1])
    assert found.points[0].quality <= found.quality_of(middle).value


def test_a_decision_log_with_too_few_effective_rows_has_no_frontier() -> None:
    with pytest.raises(NoFrontier, match="effective rows"):
        evaluated(logged(150), tau=25.0)
    assert evaluated(logged(150), tau=25.0, options=Options(is_forced=True)).points
