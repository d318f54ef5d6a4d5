from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.ope.diagnostics import (
    calibration,
    check_support,
    check_weights,
    effective_rows,
    weight_figures,
)
from bandit_router_sim.ope.estimators import Rows
from bandit_router_sim.ope.policies import PricedPolicy, Situations, fixed_arm
from tests.builders import generator
from tests.unit.sim.ope.ope_logs import ARMS, random_rows, small_log


def code_of(log: DecisionLog, target: np.ndarray) -> str:
    refusal = check_support(log, target)
    return refusal.code if refusal else ""


def even_rows(count: int, *, heavy: float = 1.0) -> Rows:
    """Rows of weight 1 but for the first, which weighs `heavy`."""
    rows = random_rows(rows=count, arms=2)
    target = np.full((count, 2), 0.5)
    propensities = np.full((count, 2), 0.5)
    propensities[0] = [0.5 / heavy, 1.0 - 0.5 / heavy]
    actions = rows.actions.copy()
    actions[0] = 0
    return replace(rows, target=target, propensities=propensities, actions=actions)


def test_effective_rows_count_rows_of_equal_weight() -> None:
    assert effective_rows(np.ones(50)) == 50.0
    assert effective_rows(np.array([1.0, 0.0, 0.0])) == 1.0
    assert effective_rows(np.zeros(3)) == 0.0


def test_missing_propensities_are_refused_with_the_number_of_rows() -> None:
    log = small_log(rows=10)
    propensities = log.propensities.copy()
    propensities[4] = np.nan
    propensities[7] *= 0.5
    refusal = check_support(replace(log, propensities=propensities), log.propensities)
    assert refusal is not None
    assert refusal.code == "missing_propensities"
    assert "2 of 10 rows" in refusal.reason


def test_a_policy_that_would_choose_what_could_not_be_chosen_is_refused_naming_the_arm() -> None:
    log = small_log(rows=10)
    propensities = np.where([True, True, False], log.propensities, 0.0)
    propensities /= propensities.sum(axis=1, keepdims=True)
    narrow = replace(log, propensities=propensities, actions=np.zeros(10, dtype=np.int64))
    refusal = check_support(narrow, fixed_arm(ARMS, "large")(Situations.of(log)))
    assert refusal is not None
    assert refusal.code == "no_support"
    assert "large" in refusal.reason
    assert code_of(narrow, fixed_arm(ARMS, "small")(Situations.of(log))) == ""


def test_other_logs_without_weights_are_refused() -> None:
    log = small_log(rows=10)
    empty = small_log(rows=0)
    certain = np.tile([1.0, 0.0, 0.0], (10, 1))
    impossible = replace(log, propensities=certain, actions=np.ones(10, dtype=np.int64))
    unquoted = replace(log, expected_rewards=np.full((10, 3), np.nan))
    assert code_of(empty, empty.propensities) == "empty_log"
    assert code_of(log, log.propensities[:5]) == "wrong_shape"
    assert code_of(impossible, certain) == "impossible_action"
    assert code_of(unquoted, PricedPolicy(1.0)(Situations.of(unquoted))) == "undefined_policy"


def test_fewer_than_two_hundred_effective_rows_are_refused_unless_forced() -> None:
    refusal = check_weights(even_rows(199), forced=False)
    assert refusal is not None
    assert refusal.code == "few_effective_rows"
    assert "199 effective rows" in refusal.reason
    assert check_weights(even_rows(199), forced=True) is None
    assert check_weights(even_rows(200), forced=False) is None


def test_less_than_one_percent_of_a_long_log_is_refused() -> None:
    count = 40_000
    rows = even_rows(count, heavy=2500.0)
    assert 200.0 < effective_rows(rows.weights) < 0.01 * count
    assert check_weights(rows, forced=False) is not None


def test_no_outcome_at_all_cannot_be_forced() -> None:
    rows = replace(even_rows(500), observed_weights=np.zeros(500))
    refusal = check_weights(rows, forced=True)
    assert refusal is not None
    assert refusal.code == "no_outcomes"


def test_one_heavy_row_shows_in_the_figures() -> None:
    log = small_log(rows=300)
    rows = Rows(
        target=np.tile([1.0, 0.0, 0.0], (300, 1)),
        propensities=np.full((300, 3), [0.5, 0.25, 0.25]),
        actions=np.array([0, 1, 2] * 100),
        outcomes=np.zeros(300),
        observed_weights=np.where(np.arange(300) == 0, 50.0, 1.0),
        predictions=np.zeros((300, 3)),
    )
    figures = weight_figures(rows, log, p_min=0.3)
    assert figures.largest_weight == 100.0
    assert figures.largest_share == pytest.approx(100.0 / (100.0 + 99 * 2.0))
    assert figures.effective_rows_by_arm["middle"] == 0.0
    assert figures.low_propensity_share == pytest.approx(2 / 3)
    assert figures.low_propensity_mass == 0.0


def test_wrong_propensities_show_in_the_mean_weight() -> None:
    log = small_log(rows=3000)
    rows = Rows(
        target=log.propensities,
        propensities=log.propensities,
        actions=log.actions,
        outcomes=log.rewards,
        observed_weights=np.ones(3000),
        predictions=np.zeros((3000, 3)),
    )
    assert weight_figures(rows, log).mean_weight_z == 0.0
    even = np.full((3000, 3), 1 / 3)
    claimed = replace(rows, propensities=even, target=PricedPolicy(200.0, 60.0)(Situations.of(log)))
    honest = replace(claimed, propensities=log.propensities)
    assert weight_figures(honest, log).mean_weight_z < 3.0
    assert weight_figures(claimed, log).mean_weight_z > 5.0


def test_calibration_finds_the_line_and_the_bias() -> None:
    random = generator(0)
    predicted = random.random((5000, 1))
    rows = Rows(
        target=np.ones((5000, 1)),
        propensities=np.ones((5000, 1)),
        actions=np.zeros(5000, dtype=np.int64),
        outcomes=0.2 + 0.5 * predicted[:, 0],
        observed_weights=np.where(random.random(5000) < 0.8, 1.25, 0.0),
        predictions=predicted,
    )
    found = calibration(rows)
    assert (found.slope, found.intercept) == (pytest.approx(0.5), pytest.approx(0.2))
    assert found.bias == pytest.approx(-0.05, abs=0.01)
    assert sum(count for count, _, _ in found.bins) == int((rows.observed_weights > 0).sum())
    perfect = replace(rows, outcomes=predicted[:, 0])
    assert calibration(perfect).error == pytest.approx(0.0, abs=1e-12)
