from __future__ import annotations

import math

import pytest

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.epoch_greedy import explored_share
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.spec import SpecError


def test_before_the_first_reward_every_choice_is_uniform() -> None:
    assert explored_share(0, exploit=1.0) == 1.0


@pytest.mark.parametrize("exploit", [0.5, 1.0, 4.0])
def test_shares_follow_the_epochs_played_one_by_one(exploit: float) -> None:
    """The original: after the n-th exploration c√n exploitations, counted out."""
    played = 0.0
    for explored in range(1, 400):
        played += 1.0 + exploit * math.sqrt(explored)
    assert explored_share(round(played), exploit=exploit) == pytest.approx(1 / (1 + exploit * math.sqrt(399)), rel=0.02)


def test_the_share_falls_with_the_rewards_of_all_arms() -> None:
    def share(rewards: int) -> float:
        arms = {name: ArmState.empty(2) for name in ("a", "b")}
        for arm in arms.values():
            arm.reward.count = rewards
        return build_model(PoolState(2, arms=arms), ["a"], parse_learner("epoch_greedy")).fitted.uniform_share

    shares = [share(count) for count in (0, 1, 10, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == explored_share(2000, exploit=1.0)


def test_epochs_without_exploitation_are_refused() -> None:
    with pytest.raises(SpecError, match="exploit"):
        parse_learner("epoch_greedy:exploit=0")
