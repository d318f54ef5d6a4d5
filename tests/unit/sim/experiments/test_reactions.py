from __future__ import annotations

import numpy as np

from bandit_router_sim.experiments.reactions import (
    LEAST_SHARE,
    MEAN_WINDOW,
    SHARE_WINDOW,
    eventual_share,
    requests_to_recover,
    requests_to_share,
)


def test_an_arm_taken_for_every_request_has_its_share_with_the_first_full_window() -> None:
    assert requests_to_share(np.ones(600, dtype=bool)) == SHARE_WINDOW


def test_an_arm_taken_from_some_request_on_has_its_share_once_nine_tenths_of_the_window_are_its() -> None:
    is_new = np.arange(600) >= 200
    assert eventual_share(is_new) == 1.0
    assert requests_to_share(is_new) == 245


def test_an_arm_that_is_hardly_used_in_the_end_has_no_share_to_reach() -> None:
    is_new = np.arange(600) < 300
    assert eventual_share(is_new) < LEAST_SHARE
    assert requests_to_share(is_new) is None


def test_recovery_counts_windows_after_the_change_only() -> None:
    assert requests_to_recover(np.full(400, 0.9), level=0.9) == MEAN_WINDOW


def test_recovery_is_reached_when_the_moving_mean_is_within_a_hundredth_of_the_level() -> None:
    rewards = np.where(np.arange(400) < 100, 0.0, 1.0)
    assert requests_to_recover(rewards, level=1.0) == 199


def test_rewards_that_stay_below_never_recover() -> None:
    assert requests_to_recover(np.full(400, 0.88), level=0.9) is None
