from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.spec import SpecError


def test_odds_are_exponential_in_the_gap_over_the_temperature() -> None:
    scores = np.array([0.50, 0.52, 0.40])
    found = parse_exploration("softmax:temperature=0.02").weigh(scores, scores, lambda _: scores)
    assert found[1] / found[0] == pytest.approx(np.e)
    assert found.sum() == pytest.approx(1.0)


def test_scores_far_apart_do_not_overflow() -> None:
    scores = np.array([-1e6, 1e6])
    assert parse_exploration("softmax").weigh(scores, scores, lambda _: scores).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("text", ["softmax:temperature=0", "softmax:floor=2", "softmax:floor=-1"])
def test_a_softmax_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_exploration(text)
