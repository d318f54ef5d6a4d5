from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.explorations.registry import FIXED_SHARES, parse_exploration
from bandit_router.core.spec import SpecError


def test_arms_are_chosen_in_proportion_and_alike_where_all_shares_are_zero() -> None:
    scores = np.array([[3.0, 1.0], [0.0, 0.0]])
    assert FIXED_SHARES.weigh(scores, scores, lambda _: scores).tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_no_pool_can_name_them() -> None:
    with pytest.raises(SpecError):
        parse_exploration("shares")
