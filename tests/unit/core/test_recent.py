"""Recency: independent of order and batching, exactly undone, and only moved by what chance does not explain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.recent import HORIZON_REWARDS, ArmRecency, Recency
from tests.builders import PROPERTY, generator

X = np.array([1.0, 0.5])
OUTCOMES = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 400), st.floats(0.0, 1.0)), min_size=1, max_size=20
)


def folded(outcomes: list[tuple[str, int, float]]) -> Recency:
    recency = Recency()
    for arm_id, learned, reward in outcomes:
        recency.replace(arm_id, X, learned=learned, old=None, new=reward)
    return recency


def assert_same(one: Recency, other: Recency) -> None:
    assert one.clock == other.clock
    for arm_id in one.arms.keys() | other.arms.keys():
        mine, theirs = (found.arms.get(arm_id, ArmRecency(np.zeros(2))) for found in (one, other))
        assert (mine.weight, mine.y) == pytest.approx((theirs.weight, theirs.y), abs=1e-9)
        assert mine.x == pytest.approx(theirs.x, abs=1e-9)


@PROPERTY
@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_order_of_outcomes_does_not_matter(outcomes: list[tuple[str, int, float]], random: object) -> None:
    mixed = list(outcomes)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert_same(folded(outcomes), folded(mixed))


@PROPERTY
@given(OUTCOMES, st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 400), st.floats(0.0, 1.0)), st.floats(0.0, 1.0))
def test_a_corrected_reward_leaves_no_trace(
    outcomes: list[tuple[str, int, float]], one: tuple[str, int, float], wrong: float
) -> None:
    arm_id, learned, reward = one
    corrected = Recency()
    corrected.replace(arm_id, X, learned=learned, old=None, new=wrong)
    for other, at, value in outcomes:
        corrected.replace(other, X, learned=at, old=None, new=value)
    corrected.replace(arm_id, X, learned=learned, old=wrong, new=reward)
    assert_same(corrected, folded([one, *outcomes]))


def test_a_retracted_reward_leaves_nothing_to_follow() -> None:
    recency = Recency()
    recency.replace("a", X, learned=10, old=None, new=0.0)
    recency.replace("a", X, learned=10, old=0.0, new=None)
    assert recency.arms["a"].changed(np.array([0.9, 0.0]), noise_sd=0.1, threshold=3.0) is None


def test_an_outcome_counts_e_times_less_after_the_horizon() -> None:
    recency = folded([("a", 0, 1.0), ("b", int(HORIZON_REWARDS), 1.0)])
    assert recency.arms["a"].weight == pytest.approx(math.exp(-1.0))
    assert recency.arms["b"].weight == 1.0


def test_a_level_that_chance_explains_is_not_followed_and_one_that_it_does_not_is() -> None:
    random = generator(0)
    mean = np.array([0.9, 0.0])
    found = {}
    for level in (0.9, 0.7):
        rewards = level + 0.15 * random.normal(size=80)
        recency = folded([("a", number, float(reward)) for number, reward in enumerate(rewards)])
        found[level] = recency.arms["a"].changed(mean, noise_sd=0.15, threshold=3.0)
    assert found[0.9] is None
    assert found[0.7] is not None
    assert found[0.7][0] == pytest.approx(0.7, abs=0.07)


def requests_until_followed(level: float, noise_sd: float, seed: int) -> int:
    """After so many rewards of an arm that falls from .9 to `level` the change is seen."""
    random, mean, recency = generator(seed), np.array([0.9, 0.0]), Recency()
    for number in range(1000):
        usual = 0.9 if number < 500 else level
        recency.replace("a", X, learned=number, old=None, new=usual + noise_sd * float(random.normal()))
        if number >= 500 and recency.arms["a"].changed(mean, noise_sd=noise_sd, threshold=3.0):
            return number - 499
    return 1000


def test_a_large_drop_is_followed_within_some_fifteen_rewards() -> None:
    delays = [requests_until_followed(0.73, 0.11, seed) for seed in range(40)]
    assert np.median(delays) <= 15
    assert max(delays) <= 35


def test_two_horizons_after_a_drop_the_level_is_what_it_has_become() -> None:
    mean = np.array([0.9, 0.0])
    recency = folded([("a", number, 0.9 if number < 500 else 0.6) for number in range(500 + 2 * int(HORIZON_REWARDS))])
    found = recency.arms["a"].changed(mean, noise_sd=0.1, threshold=3.0)
    assert found is not None
    assert found[0] == pytest.approx(0.6, abs=0.05)


def test_what_is_known_of_an_avoided_arm_is_believed_less_and_less() -> None:
    recency = folded([("a", number, 0.5) for number in range(50)])
    mean = np.array([0.9, 0.0])
    assert recency.arms["a"].changed(mean, noise_sd=0.15, threshold=3.0) is not None
    for number in range(50, 200):
        recency.replace("b", X, learned=number, old=None, new=0.8)
        if number == 149:
            assert recency.arms["a"].changed(mean, noise_sd=0.15, threshold=3.0) is not None
    assert recency.arms["a"].changed(mean, noise_sd=0.15, threshold=3.0) is None


def test_an_arm_that_has_recovered_is_believed_in_again() -> None:
    mean = np.array([0.9, 0.0])
    recency = folded([("a", number, 0.5 if number < 100 else 0.9) for number in range(200)])
    assert recency.arms["a"].changed(mean, noise_sd=0.15, threshold=3.0) is None


def test_false_alarms_in_stationary_traffic_are_rare() -> None:
    random, mean = generator(1), np.array([0.8, 0.0])
    recency, alarms = Recency(), 0
    for number in range(20_000):
        recency.replace("a", X, learned=number, old=None, new=float(random.random() < 0.8))
        if number > 200:
            alarms += recency.arms["a"].changed(mean, noise_sd=0.4, threshold=3.0) is not None
    assert alarms / 20_000 < 0.005
