from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.spec import SpecError


def test_the_best_arm_gets_all_but_the_floor() -> None:
    scores = np.array([[0.1, 0.5, 0.2], [0.9, 0.5, 0.9]])
    found = parse_exploration("epsilon_floor:epsilon=0.3").weigh(scores, scores, lambda _: scores)
    assert found == pytest.approx(np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]))


@pytest.mark.parametrize("epsilon", [-0.01, 1.01])
def test_a_floor_outside_its_range_is_refused(epsilon: float) -> None:
    with pytest.raises(SpecError, match="epsilon"):
        parse_exploration(f"epsilon_floor:epsilon={epsilon}")
