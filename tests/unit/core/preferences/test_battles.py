from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.preferences.battles import accuracy, battle_table, log_loss


def test_battles_of_a_model_with_itself_are_left_out() -> None:
    table, prompts = battle_table(["p", "q", "q"], ["x", "y", "x"], ["y", "y", "y"], ["a", "a", "tie"])
    assert (table.arm_ids, prompts) == (("x", "y"), ("p", "q"))
    assert table.wins.tolist() == [1.0, 0.5]
    assert table.prompt.tolist() == [0, 1]


def test_a_fair_coin_is_right_half_of_the_time() -> None:
    wins = np.array([1.0, 0.0, 0.5, 1.0])
    assert accuracy(wins, np.full(4, 0.5)) == 0.5
    assert log_loss(wins, np.full(4, 0.5)) == pytest.approx(np.log(2.0))
    assert accuracy(wins, np.array([0.9, 0.1, 0.9, 0.2])) == pytest.approx(2 / 3)
