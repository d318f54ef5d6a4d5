from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.spec import SpecError


def test_so_many_choices_are_uniform_and_the_others_the_best() -> None:
    model = build_model(PoolState(3), ["a", "b"], parse_learner("epsilon_greedy:epsilon=0.2"))
    exploration = model.exploration(parse_exploration("epsilon_floor:epsilon=0"))
    scores = np.array([0.3, 0.7])
    assert exploration.weigh(scores, scores, lambda _: scores) == pytest.approx([0.1, 0.9])


def test_the_layers_own_exploration_comes_on_top() -> None:
    model = build_model(PoolState(3), ["a", "b"], parse_learner("epsilon_greedy:epsilon=0.2"))
    exploration = model.exploration(parse_exploration("epsilon_floor:epsilon=0.5"))
    assert exploration.floor == pytest.approx(1.0 - 0.8 * 0.5)


@pytest.mark.parametrize("epsilon", [-0.1, 1.1])
def test_a_share_outside_its_range_is_refused(epsilon: float) -> None:
    with pytest.raises(SpecError, match="epsilon"):
        parse_learner(f"epsilon_greedy:epsilon={epsilon}")
