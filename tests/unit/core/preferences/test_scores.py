from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.preferences.scores import ScoreTable, scored, with_scores
from bandit_router.core.prior import Relative
from tests.unit.core.preferences.preference_worlds import draw_contexts, random_of


def test_scored_arms_are_found_again_and_rows_may_have_gaps() -> None:
    random = random_of(4)
    contexts = draw_contexts(random, 1000, 3)
    theta = np.array([[0.5, 0.1, 0.0], [0.7, -0.1, 0.05]])
    rewards = contexts @ theta.T + random.normal(scale=0.05, size=(1000, 2))
    rewards[random.random((1000, 2)) < 0.5] = np.nan
    found = scored(ScoreTable(("a", "b"), contexts, rewards))
    assert found["a"].mean == pytest.approx(theta[0], abs=0.02)
    assert found["b"].mean == pytest.approx(theta[1], abs=0.02)


def test_arms_without_a_score_get_no_prior_from_scores() -> None:
    rewards = np.array([[0.5, np.nan], [0.6, np.nan]])
    assert set(scored(ScoreTable(("a", "b"), np.ones((2, 2)), rewards))) == {"a"}
    assert scored(ScoreTable(("a",), np.ones((1, 2)), np.full((1, 1), np.nan))) == {}


def test_scored_answers_count_as_outcomes_of_their_arm_and_leave_what_is_relative_alone() -> None:
    random = random_of(5)
    contexts = draw_contexts(random, 40, 2)
    rewards = random.random(40)
    alone = Relative(np.array([0.5, 0.1]), 4.0 * np.eye(2), np.eye(2)).alone()
    both = with_scores(alone, contexts, rewards)
    assert both.relative is alone.relative
    assert both.precision == pytest.approx(alone.precision + contexts.T @ contexts)
    assert both.precision @ both.mean == pytest.approx(alone.precision @ alone.mean + rewards @ contexts)
    same = with_scores(alone, contexts[:0], rewards[:0])
    assert same.mean == pytest.approx(alone.mean)
    assert same.precision == pytest.approx(alone.precision)
