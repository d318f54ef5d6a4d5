"""Posteriors of arms whose priors know how arms differ better than how good all of them are.

The model of `hierarchical` with one more unknown: e, the error that all arms' means share in battles (`core.prior`).

    θ_a = w + δ_a      w ~ N(w₀, W₀⁻¹)      δ_a ~ N(0, D⁻¹)      e ~ N(0, S)
    m_a = θ_a + e + ε_a      ε_a ~ N(0, P_a⁻¹)      P_a = νR_a, and 0 for an arm that has no relative part

Everything else that is known of an arm, its outcomes and ν times what its prior knows absolutely, is in G_a and g_a.
Given u = (w, e) the arms are independent, with C_a = (G_a + D + P_a)⁻¹, b_a = g_a + P_a m_a and T_a = [D, −P_a]:

    θ_a | u ~ N(C_a (b_a + T_a u), C_a)
    Λ = diag(W₀, S⁻¹) + Σ_a (diag(D, P_a) − T_aᵀ C_a T_a)      h = (W₀w₀, 0) + Σ_a ((0, P_a m_a) + T_aᵀ C_a b_a)

so that u ~ N(Λ⁻¹h, Λ⁻¹), E θ_a = C_a (b_a + T_a Λ⁻¹h) and cov θ_a = C_a + C_a T_a Λ⁻¹ T_aᵀ C_a, all in units of the
noise. As S → 0 the error is known to be 0 and P_a joins G_a, which is how `hierarchical` takes other priors in.

How far to trust the priors is told by their evidence, as in `core.prior_strength`; but a marginal whose level may be
anything cannot be refuted. So the evidence is that of the joint model: with Z the integral over all θ_a and u,

    ln p(y | ν) = ln Z(with the outcomes) − ln Z(without) with the noise integrated out

and an arm's own evidence is ln p(y_a | y of all others, ν): what the others have told of e counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.prior import Priors
from bandit_router.core.prior_strength import STRENGTHS, averaged
from bandit_router.core.regression import FloatArray, GaussianPrior


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Stacked sums of K arms: Σxxᵀ (K, d, d), Σyx (K, d), Σy² (K,) and counts (K,)."""

    gram: FloatArray
    moment: FloatArray
    square: FloatArray
    count: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ArmPosteriors:
    """Means (K, d), and covariances (K, d, d) in units of the noise."""

    mean: FloatArray
    covariance: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Shrinkage:
    """What all arms have in common: w ~ `common`, D's diagonal `deviation` (d,) > 0, and S `shared` (d, d)."""

    common: GaussianPrior
    deviation: FloatArray
    shared: FloatArray

    @property
    def precision(self) -> FloatArray:
        """diag(W₀, S⁻¹) (2d, 2d)."""
        return _diagonal(self.common.precision, np.asarray(np.linalg.inv(self.shared)))

    @property
    def information(self) -> FloatArray:
        """(W₀w₀, 0) (2d,)."""
        return np.concatenate([self.common.precision @ self.common.mean, np.zeros(len(self.shared))])


@dataclass(frozen=True, slots=True, eq=False)
class PriorSums:
    """Priors of K arms at full strength, zero where there is none.

    What is known absolutely as a gram (K, d, d) and a moment (K, d); precisions R (K, d, d) of relative parts, and R
    times their means (K, d).
    """

    gram: FloatArray
    moment: FloatArray
    own: FloatArray
    battled: FloatArray

    @classmethod
    def of(cls, priors: Priors, arm_ids: Sequence[str], dimension: int) -> PriorSums:
        """Those of `arm_ids`, in order."""
        count = len(arm_ids)
        matrices, vectors = np.zeros((2, count, dimension, dimension)), np.zeros((2, count, dimension))
        for index, arm_id in enumerate(arm_ids):
            prior = priors.get(arm_id)
            if prior is not None:
                matrices[0, index], vectors[0, index] = prior.absolute
                if prior.relative is not None:
                    matrices[1, index] = prior.relative.precision
                    vectors[1, index] = prior.relative.precision @ prior.relative.mean
        return cls(matrices[0], vectors[0], matrices[1], vectors[1])


def relative_posteriors(sums: Sums, priors: PriorSums, strengths: FloatArray, shrinkage: Shrinkage) -> ArmPosteriors:
    """The exact posterior of every arm, with its prior at its strength (K,)."""
    arms = _eliminated(sums.gram, sums.moment, priors, strengths, shrinkage)
    spread = np.linalg.inv(_symmetric(shrinkage.precision + arms.precision.sum(axis=0)))
    centre = spread @ (shrinkage.information + arms.information.sum(axis=0))
    return ArmPosteriors(
        mean=arms.mean + arms.reach @ centre,
        covariance=arms.covariance + arms.reach @ spread @ arms.reach.swapaxes(-1, -2),
    )


def relative_strengths(
    sums: Sums,
    priors: PriorSums,
    shrinkage: Shrinkage,
    *,
    noise_guess: float,
    noise_weight: float,
    shared: float,
) -> FloatArray:
    """ν of every arm (K,), averaged by evidence: its own, and `shared` of what the others' adds to it."""
    count = len(sums.count)
    grid = np.broadcast_to(STRENGTHS[:, None], (len(STRENGTHS), count))
    before = _eliminated(np.zeros_like(sums.gram), np.zeros_like(sums.moment), priors, grid, shrinkage)
    after = _eliminated(sums.gram, sums.moment, priors, grid, shrinkage)
    volume, square = _integral(before, after, shrinkage)
    nothing = np.zeros((1, count))
    residual = np.maximum(_counted(nothing, sums.square[None]) + square[:, :1] - square, 0.0)
    weight = noise_weight + _counted(nothing, sums.count[None])
    evidence = volume - 0.5 * weight * np.log(noise_weight * noise_guess + residual)
    total, own = evidence[:, 1] - evidence[:, 0], evidence[:, 1:2] - evidence[:, 2:]
    return np.array([averaged(own[:, index] + shared * (total - own[:, index])) for index in range(count)])


@dataclass(frozen=True, slots=True, eq=False)
class _Eliminated:
    """Arms (…, K) with θ_a integrated out: what each says of u, and θ_a given u.

    `mean` C b (…, K, d), `reach` C T (…, K, d, 2d), `covariance` C; `precision` (…, K, 2d, 2d) and `information`
    (…, K, 2d) are the arm's terms of Λ and h; `volume` ln |C| / 2 and `square` bᵀCb (…, K) belong to the integral.
    """

    mean: FloatArray
    reach: FloatArray
    covariance: FloatArray
    precision: FloatArray
    information: FloatArray
    volume: FloatArray
    square: FloatArray


def _eliminated(
    gram: FloatArray, moment: FloatArray, priors: PriorSums, strengths: FloatArray, shrinkage: Shrinkage
) -> _Eliminated:
    """Arms at `strengths` (…, K) after outcomes `gram` (K, d, d) and `moment` (K, d)."""
    deviation = shrinkage.deviation
    own, battled = strengths[..., None, None] * priors.own, strengths[..., None] * priors.battled
    after = gram + strengths[..., None, None] * priors.gram + own + np.diag(deviation)
    told = moment + strengths[..., None] * priors.moment + battled
    covariance = _symmetric(np.asarray(np.linalg.inv(after), dtype=np.float64))
    mean = _times(covariance, told)
    reach = np.concatenate([covariance * deviation, -covariance @ own], axis=-1)
    ties = np.concatenate([deviation[:, None] * reach, -own @ reach], axis=-2)
    return _Eliminated(
        mean=mean,
        reach=reach,
        covariance=covariance,
        precision=_diagonal(np.diag(deviation), own) - ties,
        information=np.concatenate([deviation * mean, battled - _times(own, mean)], axis=-1),
        volume=-0.5 * np.linalg.slogdet(after)[1],
        square=np.sum(told * mean, axis=-1),
    )


def _integral(before: _Eliminated, after: _Eliminated, shrinkage: Shrinkage) -> tuple[FloatArray, FloatArray]:
    """ln Z as volume and square, (s, K + 2) each, in the order of `_counted`."""
    precision = _symmetric(shrinkage.precision + _counted(before.precision, after.precision))
    information = shrinkage.information + _counted(before.information, after.information)
    centre = np.linalg.solve(precision, information[..., None])[..., 0]
    volume = _counted(before.volume, after.volume) - 0.5 * np.linalg.slogdet(precision)[1]
    return volume, _counted(before.square, after.square) + np.sum(information * centre, axis=-1)


def _counted(before: FloatArray, after: FloatArray) -> FloatArray:
    """Sums (s, K + 2, …) over arms (s, K, …): with nobody's outcomes, with everybody's, with all but each arm's own."""
    total = after.sum(axis=1, keepdims=True)
    return np.concatenate([before.sum(axis=1, keepdims=True), total, total - (after - before)], axis=1)


def _times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Products (…, d) of (…, d, d) and (…, d)."""
    return np.asarray((matrices @ vectors[..., None])[..., 0])


def _diagonal(first: FloatArray, second: FloatArray) -> FloatArray:
    """Block-diagonal (…, 2d, 2d) of two (…, d, d)."""
    size = first.shape[-1]
    found = np.zeros((*second.shape[:-2], 2 * size, 2 * size))
    found[..., :size, :size], found[..., size:, size:] = first, second
    return found


def _symmetric(matrices: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (matrices + matrices.swapaxes(-1, -2)), dtype=np.float64)
