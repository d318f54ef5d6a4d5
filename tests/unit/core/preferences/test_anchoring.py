from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.preferences.anchoring import LEVEL, LOGIT_REWARD, anchored, fit_anchor
from bandit_router.core.preferences.bradley_terry import fit_utilities
from bandit_router.core.preferences.scores import ScoreTable
from tests.unit.core.preferences.preference_worlds import ARMS, draw_battles, draw_contexts, random_of


def test_labels_give_battles_their_level_and_scale() -> None:
    random = random_of(1)
    contexts = draw_contexts(random, 3000, 3)
    beta = random.normal(size=(4, 3))
    common, scale = np.array([0.6, 0.05, -0.05]), 0.07
    utilities = fit_utilities(draw_battles(random, beta, contexts), contexts, ridge=0.1)
    theta = common + scale * (beta - beta.mean(axis=0))
    rewards = np.full((300, 4), np.nan)
    rewards[:, 1] = contexts[:300] @ theta[1] + random.normal(scale=0.1, size=300)
    rewards[:, 2] = contexts[:300] @ theta[2] + random.normal(scale=0.1, size=300)
    anchor = fit_anchor(utilities, ScoreTable(ARMS, contexts[:300], rewards))
    assert anchor.labels == 600
    assert anchor.scale == pytest.approx(scale, abs=0.012)
    for index, arm_id in enumerate(ARMS):  # also the two that were never scored
        assert anchored(utilities, anchor)[arm_id].mean == pytest.approx(theta[index], abs=0.05)


def test_without_labels_battles_differ_around_the_usual_level() -> None:
    random = random_of(2)
    contexts = draw_contexts(random, 500, 2)
    beta = np.array([[1.0, 0.0], [-1.0, 0.0]])
    utilities = fit_utilities(draw_battles(random, beta, contexts), contexts, ridge=1.0)
    priors = anchored(utilities, fit_anchor(utilities, None))
    assert (priors["a"].mean[0] + priors["b"].mean[0]) / 2 == pytest.approx(LEVEL, abs=1e-6)
    assert priors["a"].mean[0] - priors["b"].mean[0] == pytest.approx(2 * LOGIT_REWARD, rel=0.25)


def test_labels_make_a_prior_surer_of_its_level() -> None:
    random = random_of(3)
    contexts = draw_contexts(random, 2000, 2)
    utilities = fit_utilities(draw_battles(random, np.zeros((3, 2)), contexts), contexts, ridge=1.0)
    unlabelled = anchored(utilities, fit_anchor(utilities, None))["a"]
    labels = ScoreTable(("a",), contexts[:200], 0.7 + random.normal(scale=0.22, size=(200, 1)))
    labelled = anchored(utilities, fit_anchor(utilities, labels))["a"]
    assert labelled.precision[0, 0] > unlabelled.precision[0, 0]
    assert labelled.mean[0] == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("labels", [0, 150])
def test_the_errors_of_an_arm_and_of_all_make_up_its_uncertainty(labels: int) -> None:
    random = random_of(4)
    contexts = draw_contexts(random, 400, 3)
    beta = random.normal(size=(4, 3))
    utilities = fit_utilities(draw_battles(random, beta, contexts), contexts, ridge=1.0)
    rewards = 0.7 + 0.1 * contexts[:labels] @ beta[:2].T + random.normal(scale=0.1, size=(labels, 2))
    anchor = fit_anchor(utilities, ScoreTable(ARMS[:2], contexts[:labels], rewards))
    for index, prior in enumerate(anchored(utilities, anchor).values()):
        through = np.column_stack([np.eye(3), utilities.mean[index]])
        whole = anchor.scale**2 * utilities.contrast_covariance(index) + through @ anchor.covariance @ through.T
        part = prior.relative
        assert part is not None
        own = np.linalg.inv(part.precision)
        np.testing.assert_allclose(anchor.noise * (own + part.shared), whole, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.linalg.inv(prior.precision), own + part.shared, rtol=1e-9, atol=1e-12)
        if not labels:
            np.testing.assert_allclose(anchor.noise * part.shared, anchor.covariance[:3, :3], rtol=1e-9)
            assert own[0, 0] < 0.2 * part.shared[0, 0]
