from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router_sim.ope.estimators import dr, ips, snips
from bandit_router_sim.ope.intervals import (
    bernstein_interval,
    bootstrap_values,
    clusters_of,
    confidence_sequence,
    dr_bounds,
    ips_bounds,
    normal_interval,
    percentile_interval,
    sequence_interval,
)
from tests.builders import PROPERTY, generator
from tests.unit.sim.ope.ope_logs import random_rows

UNIT = (0.0, 1.0)
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


def test_every_kind_of_interval_widens_with_its_level() -> None:
    values = generator(0).random(400)
    replicates = bootstrap_values([ips(random_rows())], seed=0)[:, 0]
    kinds = (
        [normal_interval(values, level=level) for level in LEVELS],
        [bernstein_interval(values, UNIT, level=level) for level in LEVELS],
        [sequence_interval(values, UNIT, level=level) for level in LEVELS],
        [percentile_interval(replicates, level=level) for level in LEVELS],
    )
    for found in kinds:
        assert all(inner.low >= outer.low and inner.high <= outer.high for inner, outer in itertools.pairwise(found))


def test_the_normal_interval_is_that_of_student() -> None:
    found = normal_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (found.low, found.high) == (pytest.approx(0.445740, abs=1e-6), pytest.approx(4.554260, abs=1e-6))


def test_a_few_heavy_rows_leave_few_degrees_of_freedom() -> None:
    """Ten rows decide the sum of squares: the reach is that of ten rows, not of a thousand."""
    values = np.zeros(1000)
    values[:10] = [50.0, -50.0] * 5
    error = values.std(ddof=1) / np.sqrt(1000)
    assert normal_interval(values).width == pytest.approx(2 * 2.08 * error, rel=0.01)
    light = generator(4).random(1000)
    assert normal_interval(light).width == pytest.approx(2 * 1.962 * light.std(ddof=1) / np.sqrt(1000), rel=0.001)


def test_one_row_says_nothing_about_its_spread() -> None:
    assert normal_interval(np.array([0.3])).width == np.inf
    assert bernstein_interval(np.array([0.3]), UNIT).width == 1.0


def test_clusters_of_one_row_each_are_no_clusters() -> None:
    values = generator(1).random(50)
    assert normal_interval(values, clusters=np.arange(50)) == normal_interval(values)


def test_repeating_every_row_in_its_cluster_adds_no_certainty() -> None:
    values = generator(1).random(50)
    twice, clusters = np.repeat(values, 2), np.repeat(np.arange(50), 2)
    assert normal_interval(twice, clusters=clusters).width == pytest.approx(normal_interval(values).width)
    assert normal_interval(twice).width < 0.8 * normal_interval(values).width


def test_sessions_are_clusters_and_rows_without_one_stand_alone() -> None:
    assert clusters_of(("", "")) is None
    found = clusters_of(("a", "", "a", "", "row:1"))
    assert found is not None
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 4


def test_the_bootstrap_agrees_with_the_standard_error_on_a_long_log() -> None:
    rows = random_rows(rows=3000)
    for estimate in (snips(rows), dr(rows)):
        replicates = bootstrap_values([estimate], seed=1)[:, 0]
        error = estimate.row_values.std(ddof=1) / np.sqrt(len(estimate.row_values))
        assert replicates.std() == pytest.approx(error, rel=0.1)
        assert percentile_interval(replicates).width == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_bootstrap_by_clusters_resamples_whole_sessions() -> None:
    rows = random_rows(rows=400)
    doubled = replace(
        rows,
        target=np.repeat(rows.target, 2, axis=0),
        propensities=np.repeat(rows.propensities, 2, axis=0),
        actions=np.repeat(rows.actions, 2),
        outcomes=np.repeat(rows.outcomes, 2),
        observed_weights=np.ones(800),
        predictions=np.repeat(rows.predictions, 2, axis=0),
    )
    clustered = bootstrap_values([snips(doubled)], seed=1, clusters=np.repeat(np.arange(400), 2))
    assert np.allclose(clustered, bootstrap_values([snips(rows)], seed=1))


def test_two_estimates_are_resampled_together() -> None:
    rows = random_rows(rows=300)
    replicates = bootstrap_values([dr(rows), dr(rows)], seed=2, resamples=50)
    assert np.array_equal(replicates[:, 0], replicates[:, 1])
    alone = bootstrap_values([dr(rows)], seed=2, resamples=50)
    assert np.allclose(replicates[:, :1], alone)


def test_the_empirical_bernstein_interval_is_the_published_one() -> None:
    values = np.array([0.0, 1.0] * 50)
    spread, log_term = values.var(ddof=1), np.log(4 / 0.05)
    reach = np.sqrt(2 * spread * log_term / 100) + 7 * log_term / (3 * 99)
    found = bernstein_interval(values, UNIT)
    assert (found.low, found.high) == (pytest.approx(0.5 - reach), pytest.approx(0.5 + reach))


@PROPERTY
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60), st.floats(-3.0, 3.0), st.floats(0.5, 5.0))
def test_scaling_values_and_bounds_scales_the_sequence(values: list[float], shift: float, scale: float) -> None:
    plain = sequence_interval(np.array(values), UNIT)
    moved = sequence_interval(shift + scale * np.array(values), (shift, shift + scale))
    assert (moved.low - shift) / scale == pytest.approx(plain.low, abs=1e-6)
    assert (moved.high - shift) / scale == pytest.approx(plain.high, abs=1e-6)


def test_limits_of_a_sequence_only_close_in_and_depend_on_the_past_only() -> None:
    values = generator(3).random(500)
    lower, upper = confidence_sequence(values, UNIT)
    assert (np.diff(lower) >= 0.0).all()
    assert (np.diff(upper) <= 0.0).all()
    early_lower, early_upper = confidence_sequence(values[:200], UNIT)
    assert np.array_equal(early_lower, lower[:200])
    assert np.array_equal(early_upper, upper[:200])


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.9])
def test_stopping_at_the_worst_moment_does_not_break_the_sequence(mean: float) -> None:
    """Whoever looks after every value and stops as soon as the mean seems excluded is wrong in at most 5 % of runs."""
    random = generator(11)
    runs, length = 400, 1000
    ever_wrong = fooled = 0
    for _ in range(runs):
        values = (random.random(length) < mean).astype(float)
        lower, upper = confidence_sequence(values, UNIT)
        ever_wrong += bool(((lower > mean) | (upper < mean)).any())
        count = np.arange(1, length + 1)
        running = np.cumsum(values) / count
        error = np.sqrt(np.maximum(running * (1 - running), 1e-4) / count)
        fooled += bool((np.abs(running - mean) > 1.96 * error)[50:].any())
    assert ever_wrong <= 0.05 * runs
    assert fooled > 0.2 * runs


def test_values_outside_their_bounds_are_refused() -> None:
    for interval in (bernstein_interval, confidence_sequence):
        with pytest.raises(ValueError, match="outside"):
            interval(np.array([0.5, 1.2]), UNIT)


@PROPERTY
@given(st.integers(0, 10_000))
def test_pseudo_outcomes_stay_within_their_bounds(seed: int) -> None:
    rows = random_rows(seed, rows=20)
    extreme = generator(seed).integers(0, 2, (20, 3)).astype(float)
    rows = replace(rows, predictions=extreme, outcomes=np.round(rows.outcomes))
    for estimate, bounds in ((ips(rows), ips_bounds(rows, UNIT)), (dr(rows), dr_bounds(rows, UNIT))):
        assert bounds[0] - 1e-9 <= estimate.row_values.min()
        assert estimate.row_values.max() <= bounds[1] + 1e-9


def test_the_bounds_of_pseudo_outcomes_are_reached() -> None:
    rows = random_rows(rows=1, arms=2)
    rows = replace(rows, target=np.array([[1.0, 0.0]]), propensities=np.array([[0.25, 0.75]]), actions=np.array([0]))
    best = replace(rows, outcomes=np.array([1.0]), predictions=np.zeros((1, 2)))
    worst = replace(rows, outcomes=np.array([0.0]), predictions=np.ones((1, 2)))
    assert (dr(worst).value, dr(best).value) == (-3.0, 4.0)
    assert dr_bounds(rows, UNIT) == (-3.0, 4.0)
