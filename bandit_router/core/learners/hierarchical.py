"""`hierarchical`: a regression per arm, shrunk towards a response that all arms of the pool have in common.

With ten arms and a few hundred outcomes each, separate regressions overfit, and the arm whose error happens to be
largest is chosen. But queries that are hard for one model are hard for most. So arm a's coefficients are modelled as
the pool's and a deviation of its own, all in units of the reward noise:

    y = θ_a·x + ε      θ_a = w + δ_a      w ~ N(w₀, W₀⁻¹)      δ_a ~ N(0, D⁻¹)

Integrating δ_a out leaves the exact posterior of w in closed form from the arms' additive sums G_a = Σxxᵀ, m_a = Σyx
(two-stage normal regression: Lindley and Smith, 1972):

    C_a = (D + G_a)⁻¹      V⁻¹ = W₀ + Σ_a (D − D C_a D)      w̄ = V (W₀w₀ + Σ_a D C_a m_a)
    E θ_a = C_a (D w̄ + m_a)      cov θ_a = C_a + C_a D V D C_a

An arm that nobody has tried is expected to be like the others, with the deviation's whole uncertainty. What an arm may
deviate in its slopes falls with the number of arms K (those asked for and those observed), as each sees a K-th of the
outcomes and errors are chosen among K: D has `deviation`·(K − 1) there, and `bias` for the intercept. Optimism is
`alpha`·√(ln K) standard deviations of the posterior, the growth of the largest of K errors; the noise is estimated from
all arms' residuals. The defaults are measured (docs/decisions/0028-hierarchical-rewards.md).

An imported prior counts as outcomes already seen: ν times its precision joins G_a. What battles say of how arms differ
moves the arms from where they are expected, as far as rewards bear it out (`core.learners.relative`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.gaussian import GaussianRewards, prior_strengths
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters
from bandit_router.core.learners.relative import (
    ArmPosteriors,
    PriorSums,
    Shrinkage,
    Sums,
    keeping_to_pattern,
    relative_posteriors,
    relative_strengths,
)
from bandit_router.core.prior_strength import SHARED
from bandit_router.core.regression import FloatArray, GaussianPrior, shrunk_noise
from bandit_router.core.spec import SpecError

DEFAULTS: Parameters = {"alpha": 1.3, "deviation": 1.5, "bias": 2.0, "level": 0.6, "common": 0.3, "shift": 3.0}
"""`level`: prior mean reward of the pool; `common`: precision of that and of the pool's slopes around zero.

`shift`: after how many standard errors an arm's latest rewards move its level (core.recent)."""

_NOISE_GUESS = 0.1
_NOISE_WEIGHT = 10.0


def arm_posteriors(
    gram: FloatArray, moment: FloatArray, *, common: GaussianPrior, deviation: FloatArray
) -> ArmPosteriors:
    """The exact posterior of every arm. `gram` (K, d, d), `moment` (K, d); `deviation` (d,): the diagonal of D > 0."""
    own = np.linalg.inv(gram + np.diag(deviation))
    own = 0.5 * (own + own.swapaxes(1, 2))
    told = deviation[:, None] * own
    precision = common.precision + len(gram) * np.diag(deviation) - np.sum(told * deviation, axis=0)
    spread = np.linalg.inv(0.5 * (precision + precision.T))
    centre = spread @ (common.precision @ common.mean + np.einsum("kij,kj->i", told, moment))
    reach = own * deviation
    return ArmPosteriors(
        mean=np.einsum("kij,kj->ki", own, deviation * centre + moment),
        covariance=own + reach @ spread @ reach.swapaxes(1, 2),
    )


def _check(parameters: Parameters) -> None:
    if parameters["alpha"] < 0.0:
        raise SpecError(f"hierarchical:alpha must not be negative, got {parameters['alpha']:g}")
    for key in ("deviation", "bias", "common", "shift"):
        if parameters[key] <= 0.0:
            raise SpecError(f"hierarchical:{key} must be positive, got {parameters[key]:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    arm_ids = [*knowledge.arm_ids, *sorted(knowledge.state.arms.keys() - set(knowledge.arm_ids))]
    sums, choices = _stack(knowledge, arm_ids), max(2, len(arm_ids))
    common = GaussianPrior.ridge(
        knowledge.state.dimension,
        level=parameters["level"],
        bias_precision=parameters["common"],
        slope_precision=parameters["common"],
    )
    deviation = np.full(knowledge.state.dimension, parameters["deviation"] * (choices - 1))
    deviation[0] = parameters["bias"]
    found = _posteriors(knowledge, arm_ids, sums, common, deviation)
    residuals, served = sums.residuals(found.mean), len(knowledge.arm_ids)
    noise = float(shrunk_noise(residuals.sum(), sums.count.sum(), guess=_NOISE_GUESS, weight=_NOISE_WEIGHT))
    mean, covariance = found.mean[:served], noise * found.covariance[:served]
    own = shrunk_noise(residuals, sums.count, guess=noise, weight=_NOISE_WEIGHT)[:served]
    _follow(knowledge, mean, covariance, noise_sd=np.sqrt(own), threshold=parameters["shift"])
    rewards = GaussianRewards(mean=mean, covariance=covariance, noise=np.full(served, noise))
    return Fitted(rewards, alpha=parameters["alpha"] * math.sqrt(math.log(choices)))


def _follow(
    knowledge: Knowledge, mean: FloatArray, covariance: FloatArray, *, noise_sd: FloatArray, threshold: float
) -> None:
    """Where chance does not explain an arm's latest rewards (core.recent), expect their level of it at every query.

    `noise_sd` (K,): deviations of the arms' own rewards. What is uncertain of the slopes stays so.
    """
    for index, arm_id in enumerate(knowledge.arm_ids):
        recent = knowledge.state.recency.arms.get(arm_id)
        found = recent and recent.changed(mean[index], noise_sd=float(noise_sd[index]), threshold=threshold)
        if found:
            mean[index] = 0.0
            mean[index, 0], error = found
            covariance[index, 0, 0] += error * error


def _stack(knowledge: Knowledge, arm_ids: Sequence[str]) -> Sums:
    empty = ArmState.empty(knowledge.state.dimension)
    rewards = [knowledge.state.arms.get(arm_id, empty).reward for arm_id in arm_ids] or [empty.reward]
    return Sums(
        gram=np.array([sums.gram for sums in rewards]),
        moment=np.array([sums.moment for sums in rewards]),
        square=np.array([sums.square for sums in rewards]),
        count=np.array([float(sums.count) for sums in rewards]),
    )


def _posteriors(
    knowledge: Knowledge, arm_ids: Sequence[str], sums: Sums, common: GaussianPrior, deviation: FloatArray
) -> ArmPosteriors:
    """Posteriors after outcomes and imported priors."""
    if all(prior.relative is None for prior in knowledge.priors.values()):
        gram, moment = _with_priors(knowledge, arm_ids, sums, common, deviation)
        return arm_posteriors(gram, moment, common=common, deviation=deviation)
    shrinkage = Shrinkage(common, deviation)
    priors = PriorSums.of(knowledge.priors, arm_ids, knowledge.state.dimension)
    noise = {"noise_guess": _NOISE_GUESS, "noise_weight": _NOISE_WEIGHT}
    strengths = relative_strengths(sums, priors, shrinkage, shared=SHARED, **noise)
    kept = keeping_to_pattern(sums, priors, strengths, shrinkage, **noise)
    return relative_posteriors(sums, kept, strengths, shrinkage)


def _with_priors(
    knowledge: Knowledge, arm_ids: Sequence[str], sums: Sums, common: GaussianPrior, deviation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Grams and moments with the imported priors as outcomes seen before."""
    if not knowledge.priors:
        return sums.gram, sums.moment
    alone = GaussianPrior(
        mean=common.mean, precision=np.diag(1.0 / (1.0 / deviation + 1.0 / np.diag(common.precision)))
    )
    strengths = prior_strengths(knowledge, alone)
    gram, moment = sums.gram.copy(), sums.moment.copy()
    for index, arm_id in enumerate(arm_ids):
        if arm_id in strengths:
            prior = knowledge.priors[arm_id].scaled(strengths[arm_id])
            gram[index] += prior.precision
            moment[index] += prior.precision @ prior.mean
    return gram, moment


HIERARCHICAL = Learner(defaults=DEFAULTS, check=_check, fit=_fit)
