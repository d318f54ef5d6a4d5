"""How far to trust a prior, decided by how well it foretold the rewards that came.

An imported prior N(θ_off, H⁻¹) enters a regression as ν times its information, beside the learner's own ridge
N(θ₀, Λ₀⁻¹):

    A = νH + Λ₀      b = νHθ_off + Λ₀θ₀

so that ν → 0 leaves the ridge alone: a prior that is not trusted costs nothing. ν is averaged over a grid, weighted by
the evidence of each value, which is the product of the one-step predictive likelihoods of all rewards so far (the
prequential principle, Dawid 1984) and has a closed form in the additive sums (Bishop, Pattern Recognition and Machine
Learning, § 3.5; noise variance σ² ~ inverse gamma integrated out):

    ln p(y | ν) = ½ ln|A| − ½ ln|A + G| − (a + n/2) ln(b₀ + ½ S) + const
    S = Σy² + mᵀAm − (Am + g)ᵀ(A + G)⁻¹(Am + g)          G = Σxxᵀ, g = Σyx, m = A⁻¹b

No state is kept, order and batching of the rewards do not matter, and a correction is as if it had never been
otherwise. The arms of a pool share their evidence up to SHARED, because a prior fitted at once is mostly right or wrong
at once; the rest of the weight is the arm's own, because one model may have been changed since. Where priors have
relative parts, `core.learners.relative` has an evidence of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.prior import ArmPrior, Priors
from bandit_router.core.regression import FloatArray, GaussianPrior, RegressionSums

STRENGTHS: FloatArray = np.array([0.0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0])
"""Values of ν that are weighed against each other, equally likely before the first reward."""

SHARED = 0.5
"""Part of the other arms' evidence that counts for an arm."""


def strengths(
    priors: Priors,
    sums: Mapping[str, RegressionSums],
    ridge: GaussianPrior,
    *,
    noise_guess: float,
    noise_weight: float,
) -> Mapping[str, float]:
    """ν of every arm that has a prior; `sums` of arms never seen may be missing. Noise as for `posterior`."""
    evidence = {
        arm_id: log_evidence(prior, sums[arm_id], ridge, noise_guess=noise_guess, noise_weight=noise_weight)
        for arm_id, prior in priors.items()
        if arm_id in sums and sums[arm_id].count > 0
    }
    nothing = np.zeros(len(STRENGTHS))
    total = sum(evidence.values(), start=nothing)
    found = {}
    for arm_id in priors:
        own = evidence.get(arm_id, nothing)
        found[arm_id] = averaged(own + SHARED * (total - own))
    return found


def averaged(log_weights: FloatArray) -> float:
    """The mean of STRENGTHS under weights given as logarithms (len(STRENGTHS),), up to a constant."""
    weights = np.exp(_below_largest(log_weights))
    return float(weights @ STRENGTHS / weights.sum())


def log_evidence(
    prior: ArmPrior, sums: RegressionSums, ridge: GaussianPrior, *, noise_guess: float, noise_weight: float
) -> FloatArray:
    """ln p(rewards | ν) for ν in STRENGTHS, up to one constant: shape (len(STRENGTHS),)."""
    precision = STRENGTHS[:, None, None] * prior.precision + ridge.precision
    information = STRENGTHS[:, None] * (prior.precision @ prior.mean) + ridge.precision @ ridge.mean
    after, moment = precision + sums.gram, information + sums.moment
    fitted = _quadratic(precision, information) - _quadratic(after, moment)
    residual = np.maximum(sums.square + fitted, 0.0)
    spread = noise_weight * noise_guess + residual
    volume = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(after)[1]
    return np.asarray(0.5 * volume - 0.5 * (noise_weight + sums.count) * np.log(spread))


def believed(prior: ArmPrior, strength: float, ridge: GaussianPrior) -> GaussianPrior:
    """The product of the prior at this strength and the learner's own ridge prior."""
    precision = strength * prior.precision + ridge.precision
    information = strength * (prior.precision @ prior.mean) + ridge.precision @ ridge.mean
    mean = np.asarray(np.linalg.solve(precision, information), dtype=np.float64)
    return GaussianPrior(mean=mean, precision=precision)


def _quadratic(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """vᵀM⁻¹v of stacked matrices (s, d, d) and vectors (s, d)."""
    return np.asarray(np.einsum("sd,sd->s", vectors, np.linalg.solve(matrices, vectors[:, :, None])[:, :, 0]))


def _below_largest(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.max())
