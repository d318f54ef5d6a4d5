"""Posteriors of arms whose priors know how arms differ, up to a scale: those that come from battles.

The model of `hierarchical`, with arms expected where battles put them. Let c_a be arm a's mean in its relative part
(`core.prior`) less that of all arms that have one; 0 for arms that have none.

    θ_a = w + s c_a + δ_a      w ~ N(w₀, W₀⁻¹)      s ~ N(1, k⁻¹)      δ_a ~ N(0, D_a⁻¹)      D_a = D + νR_a

Battles tell the pattern of the differences, not what a logit of preference is worth in rewards: that depends on how
often answers tie, on the judge and on what is rewarded, and may be off by a factor of five. So the scale s is one more
unknown of the whole pool, learned from rewards; it is below 0 where losers turn out to be better. νR_a is how precisely
arms keep to the pattern, beyond what D says of any arm. What all arms have in common is w, which battles know nothing
of, and everything else that is known of an arm, its outcomes and ν times what its prior knows absolutely, is in G_a and
g_a. Given u = (w, s) the arms are independent, with C_a = (G_a + D_a)⁻¹ and T_a = D_a [I, c_a]:

    θ_a | u ~ N(C_a (g_a + T_a u), C_a)
    Λ = diag(W₀, k) + Σ_a ([I, c_a]ᵀ T_a − T_aᵀ C_a T_a)      h = (W₀w₀, k) + Σ_a T_aᵀ C_a g_a

so that u ~ N(Λ⁻¹h, Λ⁻¹) and E θ_a = C_a (g_a + T_a Λ⁻¹h), all in units of the noise. Covariances are those given the
scale: cov(θ_a | s) = C_a + C_a D_a Λ_w⁻¹ D_a C_a with Λ_w the part of Λ that is about w. Optimism would otherwise pay
for the scale, most where battles say most; but rewards of any two arms tell it.

How far to trust the pattern is told by its evidence, as in `core.prior_strength`, but that of the joint model, since a
pattern says nothing of an arm alone. With Z the integral over all θ_a and u,

    ln p(y | ν) = ln Z(with the outcomes) − ln Z(without) with the noise integrated out

and an arm's own evidence is ln p(y_a | y of all others, ν): what the others have told of w and s counts. Where no scale
makes the pattern fit, s nears 0, and νR_a would then say that all arms are alike, which keeps untried ones untried. So
R_a counts by E[s]² / E[s²] only: as far as there is a pattern to keep to (docs/decisions/0060).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit_router.core.prior import Priors
from bandit_router.core.prior_strength import STRENGTHS, averaged
from bandit_router.core.regression import FloatArray, GaussianPrior, shrunk_noise

SCALE_PRECISION = 0.025
"""k: a standard deviation of 2 where the noise is what `hierarchical` guesses, .1."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Stacked sums of K arms: Σxxᵀ (K, d, d), Σyx (K, d), Σy² (K,) and counts (K,)."""

    gram: FloatArray
    moment: FloatArray
    square: FloatArray
    count: FloatArray

    def nothing(self) -> Sums:
        """The same arms before their first outcome."""
        return Sums(*(np.zeros_like(part) for part in (self.gram, self.moment, self.square, self.count)))

    def residuals(self, mean: FloatArray) -> FloatArray:
        """Sums of squared residuals (K,) around x·`mean` (K, d)."""
        explained = 2.0 * np.einsum("kd,kd->k", mean, self.moment) - np.einsum("ki,kij,kj->k", mean, self.gram, mean)
        return np.asarray(self.square - explained)


@dataclass(frozen=True, slots=True, eq=False)
class ArmPosteriors:
    """Means (K, d), and covariances (K, d, d) in units of the noise."""

    mean: FloatArray
    covariance: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Shrinkage:
    """What arms have in common: w ~ `common`, D's diagonal `deviation` (d,) > 0, and k, `scale_precision` > 0."""

    common: GaussianPrior
    deviation: FloatArray
    scale_precision: float = SCALE_PRECISION

    @property
    def precision(self) -> FloatArray:
        """diag(W₀, k) (d + 1, d + 1)."""
        size = len(self.deviation)
        found = np.zeros((size + 1, size + 1))
        found[:size, :size], found[size, size] = self.common.precision, self.scale_precision
        return found

    @property
    def information(self) -> FloatArray:
        """(W₀w₀, k) (d + 1,)."""
        return np.append(self.common.precision @ self.common.mean, self.scale_precision)


@dataclass(frozen=True, slots=True, eq=False)
class PriorSums:
    """Priors of K arms at full strength, zero where there is none.

    What is known absolutely as a gram (K, d, d) and a moment (K, d); precisions R (K, d, d) of relative parts, and the
    pattern c (K, d).
    """

    gram: FloatArray
    moment: FloatArray
    own: FloatArray
    pattern: FloatArray

    @classmethod
    def of(cls, priors: Priors, arm_ids: Sequence[str], dimension: int) -> PriorSums:
        """Those of `arm_ids`, in order."""
        count = len(arm_ids)
        matrices, vectors = np.zeros((2, count, dimension, dimension)), np.zeros((2, count, dimension))
        is_relative = np.zeros(count, dtype=np.bool_)
        for index, arm_id in enumerate(arm_ids):
            prior = priors.get(arm_id)
            if prior is not None:
                matrices[0, index], vectors[0, index] = prior.absolute
                if prior.relative is not None:
                    is_relative[index] = True
                    matrices[1, index], vectors[1, index] = prior.relative.precision, prior.relative.mean
        if is_relative.any():
            vectors[1, is_relative] -= vectors[1, is_relative].mean(axis=0)
        return cls(matrices[0], vectors[0], matrices[1], vectors[1])


def relative_posteriors(sums: Sums, priors: PriorSums, strengths: FloatArray, shrinkage: Shrinkage) -> ArmPosteriors:
    """Every arm with its prior at its strength (K,): the exact mean, and the covariance given the scale."""
    arms = _eliminated(sums, priors, strengths, shrinkage)
    precision, centre = _common(arms, shrinkage)
    reach = arms.reach[..., :-1]
    return ArmPosteriors(
        mean=arms.mean + arms.reach @ centre,
        covariance=arms.covariance + reach @ np.linalg.inv(precision[:-1, :-1]) @ reach.swapaxes(-1, -2),
    )


def keeping_to_pattern(
    sums: Sums,
    priors: PriorSums,
    strengths: FloatArray,
    shrinkage: Shrinkage,
    *,
    noise_guess: float,
    noise_weight: float,
) -> PriorSums:
    """The priors with R times E[s]² / E[s²], at `strengths` (K,): how far arms keep to a pattern, if there is one."""
    arms = _eliminated(sums, priors, strengths, shrinkage)
    precision, centre = _common(arms, shrinkage)
    residual = sums.residuals(arms.mean + arms.reach @ centre).sum()
    noise = float(shrunk_noise(residual, sums.count.sum(), guess=noise_guess, weight=noise_weight))
    square = float(centre[-1]) ** 2
    variance = noise * float(np.linalg.solve(precision, np.eye(len(precision))[-1])[-1])
    return replace(priors, own=square / (square + variance) * priors.own)


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
    before = _eliminated(sums.nothing(), priors, grid, shrinkage)
    after = _eliminated(sums, priors, grid, shrinkage)
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

    `mean` C g (…, K, d), `reach` C T (…, K, d, d + 1), `covariance` C; `precision` (…, K, d + 1, d + 1) and
    `information` (…, K, d + 1) are the arm's terms of Λ and h; `volume` (ln |D_a| + ln |C|) / 2 and `square` gᵀCg
    (…, K) belong to the integral.
    """

    mean: FloatArray
    reach: FloatArray
    covariance: FloatArray
    precision: FloatArray
    information: FloatArray
    volume: FloatArray
    square: FloatArray


def _eliminated(sums: Sums, priors: PriorSums, strengths: FloatArray, shrinkage: Shrinkage) -> _Eliminated:
    """Arms at `strengths` (…, K) after the outcomes of `sums`."""
    deviation = np.diag(shrinkage.deviation) + strengths[..., None, None] * priors.own
    after = sums.gram + strengths[..., None, None] * priors.gram + deviation
    told = sums.moment + strengths[..., None] * priors.moment
    covariance = _symmetric(np.asarray(np.linalg.inv(after), dtype=np.float64))
    mean = _times(covariance, told)
    ties = _with_pattern(deviation, priors.pattern)
    back, reach = ties.swapaxes(-1, -2), covariance @ ties
    return _Eliminated(
        mean=mean,
        reach=reach,
        covariance=covariance,
        precision=_with_pattern(back, priors.pattern).swapaxes(-1, -2) - back @ reach,
        information=_times(back, mean),
        volume=0.5 * (np.linalg.slogdet(deviation)[1] - np.linalg.slogdet(after)[1]),
        square=np.sum(told * mean, axis=-1),
    )


def _common(arms: _Eliminated, shrinkage: Shrinkage) -> tuple[FloatArray, FloatArray]:
    """Λ (d + 1, d + 1) and the mean of u (d + 1,)."""
    precision = _symmetric(shrinkage.precision + arms.precision.sum(axis=0))
    return precision, np.linalg.solve(precision, shrinkage.information + arms.information.sum(axis=0))


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


def _with_pattern(matrices: FloatArray, pattern: FloatArray) -> FloatArray:
    """M [I, c] (…, K, n, d + 1) of matrices (…, K, n, d) and patterns (K, d)."""
    return np.concatenate([matrices, matrices @ pattern[..., None]], axis=-1)


def _symmetric(matrices: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (matrices + matrices.swapaxes(-1, -2)), dtype=np.float64)
