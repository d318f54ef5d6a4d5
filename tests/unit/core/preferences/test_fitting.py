from __future__ import annotations

import numpy as np

from bandit_router.core.preferences.fitting import Battlefield, contexts_of, fit_arms, judged, split_by_prompt
from bandit_router.core.preferences.scores import ScoreTable
from bandit_router.core.projection import identity_projection
from tests.unit.core.preferences.preference_worlds import draw_battles, draw_contexts, random_of


def test_contexts_are_those_that_the_router_builds() -> None:
    found = contexts_of(["four", ""], np.array([[0.5, 0.25], [0.0, 0.0]]), identity_projection(2, 1), ["hour"])
    assert found.shape == (2, 4)
    assert found[:, 0].tolist() == [1.0, 1.0]
    assert found[:, 2].tolist() == [0.0, 0.0]
    assert found[:, 3].tolist() == [0.5, 0.0]


def test_arms_of_either_source_get_a_prior() -> None:
    random = random_of(6)
    contexts = draw_contexts(random, 100, 2)
    battles = Battlefield(draw_battles(random, np.zeros((2, 2)), contexts), contexts)
    scores = ScoreTable(("b", "z"), contexts, random.random((100, 2)))
    assert set(fit_arms(battles, scores)) == {"a", "b", "z"}
    assert set(fit_arms(battles, None)) == {"a", "b"}
    assert set(fit_arms(None, scores)) == {"b", "z"}
    assert fit_arms(None, None) == {}


def test_what_battles_tell_stays_relative_and_what_scores_tell_absolute() -> None:
    random = random_of(8)
    contexts = draw_contexts(random, 100, 2)
    battles = Battlefield(draw_battles(random, np.zeros((2, 2)), contexts), contexts)
    scores = ScoreTable(("b", "z"), contexts, random.random((100, 2)))
    both = fit_arms(battles, scores)
    assert [both[arm_id].relative is not None for arm_id in ("a", "b", "z")] == [True, True, False]
    for found, told in zip(both["b"].absolute, (contexts.T @ contexts, scores.rewards[:, 0] @ contexts), strict=True):
        np.testing.assert_allclose(found, told, rtol=1e-9, atol=1e-9)
    assert np.abs(both["a"].absolute[0]).max() < 1e-9


def test_prompts_that_tell_make_better_forecasts_of_unseen_ones() -> None:
    random = random_of(7)
    contexts = draw_contexts(random, 400, 4)
    beta = random.normal(size=(3, 4))
    parts = split_by_prompt(draw_battles(random, beta, contexts))
    assert parts is not None
    assert not set(parts[0].prompt) & set(parts[1].prompt)
    quality = judged(*parts, contexts)
    assert quality.accuracy > quality.plain_accuracy + 0.05
    assert quality.log_loss < quality.plain_log_loss
    few = draw_contexts(random, 20, 4)
    assert split_by_prompt(draw_battles(random, beta, few)) is None
