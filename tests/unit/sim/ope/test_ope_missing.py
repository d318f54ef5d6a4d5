from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from bandit_router_sim.ope.missing import (
    SMALLEST_CHANCE,
    ages_ms,
    logistic_probabilities,
    matured,
    missing_rates,
    observe,
    rows_of,
)
from tests.builders import generator
from tests.unit.sim.ope.ope_logs import small_log, with_rewards


def test_a_complete_log_needs_no_model() -> None:
    log = small_log(rows=100)
    found = observe(log, log.rewards)
    assert found.is_complete
    assert (found.weights == 1.0).all()


def test_logistic_regression_recovers_the_chances() -> None:
    random = generator(0)
    features = random.standard_normal((20_000, 2))
    truth = expit(0.5 + features @ np.array([1.0, -0.5]))
    fitted = logistic_probabilities(features, random.random(20_000) < truth)
    assert np.abs(fitted - truth).mean() < 0.01


def test_separable_rows_and_constant_columns_do_not_break_it() -> None:
    features = np.column_stack([np.arange(50.0), np.ones(50)])
    fitted = logistic_probabilities(features, np.arange(50) >= 25)
    assert np.isfinite(fitted).all()
    assert fitted[0] < 0.05 < 0.95 < fitted[-1]


def test_weights_stand_for_the_rows_that_are_missing() -> None:
    log = small_log(rows=4000)
    chances = np.array([0.9, 0.5, 0.2])[log.actions]
    rewards = np.where(generator(1).random(4000) < chances, log.rewards, np.nan)
    found = observe(with_rewards(log, rewards), rewards)
    assert found.weights.sum() == pytest.approx(4000, rel=0.02)
    assert np.abs(found.chances - chances).mean() < 0.03
    weighted = np.nansum(found.weights * rewards) / found.weights.sum()
    assert weighted == pytest.approx(log.rewards.mean(), abs=0.01)
    assert abs(np.nanmean(rewards) - log.rewards.mean()) > 0.02


def test_young_rewards_are_missing_more_often_and_the_age_explains_it() -> None:
    log = small_log(rows=4000)
    late = ages_ms(log) / 1000.0
    rewards = np.where(generator(1).random(4000) < 1.0 - np.exp(-late / 1000.0), log.rewards, np.nan)
    found = observe(log, rewards)
    oldest, youngest = found.chances[:400].mean(), found.chances[-400:].mean()
    assert youngest < 0.35 < 0.85 < oldest


def test_tiny_chances_are_raised_and_that_is_reported() -> None:
    log = small_log(rows=3000)
    rewards = np.where((log.actions == 0) | (np.arange(3000) == 5), log.rewards, np.nan)
    found = observe(log, rewards)
    assert found.chances.min() == SMALLEST_CHANCE
    assert found.raised_share > 0.1


def test_the_missing_rate_is_told_for_every_arm() -> None:
    log = replace(small_log(rows=6), actions=np.array([0, 0, 0, 0, 1, 1]))
    rates = missing_rates(log, np.array([np.nan, 0.5, 0.5, 0.5, 1.0, np.nan]))
    assert rates["small"] == 0.25
    assert rates["middle"] == 0.5
    assert np.isnan(rates["large"])


def test_mature_rows_are_chosen_by_age_alone() -> None:
    log = small_log(rows=100)
    kept = matured(log, maturity_ms=10_000)
    assert kept.tolist() == list(range(91 - 1))
    assert matured(log, maturity_ms=10_000, now_ms=10**9).tolist() == list(range(100))
    part = rows_of(log, kept)
    assert len(part) == 90
    assert part.decision_ids == log.decision_ids[:90]
    assert np.array_equal(part.propensities, log.propensities[:90])
