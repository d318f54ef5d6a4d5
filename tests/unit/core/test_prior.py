from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.preferences.scores import with_scores
from bandit_router.core.prior import ArmPrior, Relative
from tests.builders_of_priors import arm_prior, relative_arm


def test_a_prior_scaled_weighs_as_so_many_times_the_observations() -> None:
    prior = ArmPrior(np.array([0.5, 1.0]), np.diag([2.0, 4.0]))
    scaled = prior.scaled(3.0)
    assert (scaled.mean == prior.mean).all()
    assert (scaled.precision == np.diag([6.0, 12.0])).all()
    assert prior.dimension == 2


@pytest.mark.parametrize(
    ("mean", "precision", "rule"),
    [
        ([0.0, 0.0], np.eye(3), "match"),
        ([np.nan, 0.0], np.eye(2), "finite"),
        ([0.0, 0.0], [[1.0, np.inf], [np.inf, 1.0]], "finite"),
        ([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "positive definite"),
    ],
)
def test_a_prior_that_is_no_distribution_is_refused(mean: list[float], precision: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        ArmPrior(np.array(mean), np.array(precision))


def test_what_is_known_of_an_arm_alone_is_as_uncertain_as_both_errors_together() -> None:
    part = Relative(np.array([0.5, 1.0]), np.diag([4.0, 2.0]), np.array([[0.75, 0.1], [0.1, 0.5]]))
    prior = part.alone()
    assert (prior.mean == part.mean).all()
    np.testing.assert_allclose(np.linalg.inv(prior.precision), [[1.0, 0.1], [0.1, 1.0]], atol=1e-12)
    precision, information = prior.absolute
    assert abs(precision).max() < 1e-12
    assert abs(information).max() < 1e-12


def test_scores_of_an_arm_that_fought_stay_apart_from_its_battles() -> None:
    battles, scores, contexts = relative_arm(0.9), arm_prior(0.6), 2.0 * np.eye(4) + 0.1
    rewards = np.array([0.4, 0.5, 0.9, 0.6])
    both = with_scores(battles, contexts, rewards)
    assert both.relative is battles.relative
    np.testing.assert_allclose(both.absolute[0], contexts.T @ contexts, atol=1e-12)
    np.testing.assert_allclose(both.absolute[1], rewards @ contexts, atol=1e-12)
    np.testing.assert_allclose(scores.absolute[0], scores.precision)


@pytest.mark.parametrize(
    ("precision", "shared", "rule"),
    [
        (np.eye(3), np.eye(2), "own precision .* match"),
        (np.eye(2), np.eye(3), "shared covariance .* match"),
        (np.eye(2), np.array([[1.0, np.nan], [np.nan, 1.0]]), "shared covariance must be finite"),
        (np.eye(2), np.array([[1.0, 0.5], [0.0, 1.0]]), "shared covariance must be symmetric"),
        (-np.eye(2), np.eye(2), "own precision must be positive definite"),
        (np.eye(2), np.zeros((2, 2)), "shared covariance must be positive definite"),
    ],
)
def test_relative_parts_that_are_no_distributions_are_refused(
    precision: np.ndarray, shared: np.ndarray, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        Relative(np.zeros(2), precision, shared)


def test_a_part_cannot_say_more_than_the_whole() -> None:
    part = Relative(np.zeros(2), 10.0 * np.eye(2), 0.1 * np.eye(2))
    with pytest.raises(ValueError, match="must not say more"):
        ArmPrior(np.zeros(2), 4.9 * np.eye(2), relative=part)
    assert ArmPrior(np.zeros(2), 5.1 * np.eye(2), relative=part).relative is part
    with pytest.raises(ValueError, match=r"relative part of \(2,\)"):
        ArmPrior(np.zeros(3), np.eye(3), relative=part)
