"""From logits of preference to rewards: level and scale by absolute labels.

    r = c·x + κ (β_a·x) + ε          (c, κ) ~ N((level, 0, …, 0; κ₀), …)

Battles tell how arms differ, up to a scale, and nothing of what they have in common. A few scored answers give both:
with z = β̂_a·x as one more regressor, c and κ come from one ridge regression, and arm a is θ_a = c + κβ̂_a with

    Cov θ_a = κ² Cov(β_a − mean β) + Cov c + Var κ · β̂_aβ̂_aᵀ

(first-order propagation; with the covariance of c and κ where labels make one). All arms share the error of c. With
g = Cov(c, κ) / Var κ it is g(κ − κ̂) and a rest that does not depend on κ, so what is relative (`core.prior`) has

    shared: Cov c − Var κ · ggᵀ        own: κ² Cov(β_a − mean β) + Var κ · (β̂_a + g)(β̂_a + g)ᵀ

both positive definite, their sum Cov θ_a. The error of κ is common, too, but moves arms apart, and counts as their own.

Without labels the regression returns its prior: everybody around `level`, one logit worth
LOGIT_REWARD, and as uncertain as that says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.preferences.bradley_terry import Utilities
from bandit_router.core.preferences.scores import ScoreTable
from bandit_router.core.prior import ArmPrior, Relative
from bandit_router.core.regression import FloatArray, GaussianPrior, RegressionSums, posterior

LOGIT_REWARD = 0.1
LEVEL = 0.8
NOISE_GUESS = 0.05
NOISE_WEIGHT = 10.0
_LEVEL_PRECISION = 1.0
_SLOPE_PRECISION = 10.0
_SCALE_PRECISION = 100.0
_LEAST_SCALE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """Common part c (d,) and scale κ, their joint covariance (d + 1, d + 1) in rewards², and the rewards' noise."""

    common: FloatArray
    scale: float
    covariance: FloatArray
    noise: float
    labels: int


def fit_anchor(utilities: Utilities, scores: ScoreTable | None) -> Anchor:
    """Level and scale by the scored answers of arms that have fought; by the prior alone if there are none."""
    size = utilities.mean.shape[1]
    sums = RegressionSums.zeros(size + 1)
    if scores is not None:
        for index, arm_id in enumerate(utilities.arm_ids):
            x, rewards = scores.of(arm_id)
            z = x @ utilities.mean[index]
            _add(sums, np.column_stack([x, z]), rewards)
    found = posterior(_prior(size), sums, noise_guess=NOISE_GUESS, noise_weight=NOISE_WEIGHT)
    scale = max(float(found.mean[-1]), _LEAST_SCALE)
    return Anchor(found.mean[:-1], scale, found.noise * found.covariance, found.noise, sums.count)


def anchored(utilities: Utilities, anchor: Anchor) -> dict[str, ArmPrior]:
    """Reward priors of the arms that have fought, all of it relative, precisions in units of the anchor's noise."""
    variance = float(anchor.covariance[-1, -1])
    tilt = anchor.covariance[:-1, -1] / variance
    shared = (anchor.covariance[:-1, :-1] - variance * np.outer(tilt, tilt)) / anchor.noise
    shared = 0.5 * (shared + shared.T)
    found = {}
    for index, arm_id in enumerate(utilities.arm_ids):
        beta = utilities.mean[index]
        steep = beta + tilt
        own = anchor.scale**2 * utilities.contrast_covariance(index) + variance * np.outer(steep, steep)
        precision = anchor.noise * np.linalg.inv(own)
        mean = anchor.common + anchor.scale * beta
        found[arm_id] = Relative(mean, 0.5 * (precision + precision.T), shared).alone()
    return found


def _prior(size: int) -> GaussianPrior:
    mean = np.zeros(size + 1)
    mean[0], mean[-1] = LEVEL, LOGIT_REWARD
    diagonal = np.full(size + 1, _SLOPE_PRECISION)
    diagonal[0], diagonal[-1] = _LEVEL_PRECISION, _SCALE_PRECISION
    return GaussianPrior(mean=mean, precision=np.diag(diagonal))


def _add(sums: RegressionSums, rows: FloatArray, rewards: FloatArray) -> None:
    sums.gram += rows.T @ rows
    sums.moment += rewards @ rows
    sums.square += float(rewards @ rewards)
    sums.count += len(rewards)
