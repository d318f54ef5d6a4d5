from __future__ import annotations

import numpy as np
import pytest

from bandit_router_sim.ope.policies import fixed_arm
from bandit_router_sim.ope.synthesis import simulate
from tests.builders import SMALLEST_P_VALUE, chi_square_p_value
from tests.unit.sim.ope.ope_logs import ARMS, LOGGING, full_log, small_population


def test_the_same_seed_gives_the_same_log() -> None:
    source = small_population()
    one, again, other = (simulate(source, LOGGING, rows=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.rewards, again.rewards)
    assert one.decision_ids == again.decision_ids
    assert not np.array_equal(one.rewards, other.rewards)
    assert not set(one.decision_ids) & set(other.decision_ids)


def test_arms_are_drawn_as_their_propensities_say() -> None:
    log = simulate(small_population(), LOGGING, rows=20_000, seed=0)
    counts = np.bincount(log.actions, minlength=3)
    expected = log.propensities.mean(axis=0)
    assert chi_square_p_value(counts.tolist(), expected.tolist()) > SMALLEST_P_VALUE


def test_the_truth_is_the_mean_over_the_population() -> None:
    source = small_population()
    reward, cost = source.value(fixed_arm(ARMS, "middle"))
    assert reward == pytest.approx(full_log().scores[:, 1].mean())
    assert cost == pytest.approx(full_log().costs_usd[:, 1].mean())


def test_an_arm_of_probability_zero_is_never_drawn() -> None:
    log = simulate(small_population(), fixed_arm(ARMS, "middle"), rows=500, seed=0)
    assert (log.actions == 1).all()


def test_rewards_are_observed_as_often_as_asked() -> None:
    source = small_population(reward_chances=np.tile([1.0, 0.5, 0.0], (600, 1)))
    log = simulate(source, LOGGING, rows=5000, seed=0)
    seen = np.isfinite(log.rewards)
    assert seen[log.actions == 0].all()
    assert seen[log.actions == 1].mean() == pytest.approx(0.5, abs=0.06)
    assert not seen[log.actions == 2].any()
