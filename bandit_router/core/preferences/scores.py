"""Priors from scored answers: a ridge regression per arm, shrunk towards what all arms have in common.

Full rows (every arm scored) and logged rows (only the arm that was chosen) are alike here: what is regressed is the
reward given the context, so that the choice of arm by the context does not bias it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.prior import ArmPrior
from bandit_router.core.regression import FloatArray, GaussianPrior, RegressionSums, posterior
from bandit_router.core.sharing import common_slopes

_LEVEL = 0.8
_BIAS_PRECISION = 1.0
_COMMON_RIDGE = 1.0
_SLOPE_PRECISION = 5.0
_NOISE_GUESS = 0.05
_NOISE_WEIGHT = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Rewards (m, K) of `arm_ids` about contexts (m, d); NaN where an arm was not scored."""

    arm_ids: tuple[str, ...]
    contexts: FloatArray
    rewards: FloatArray

    def of(self, arm_id: str) -> tuple[FloatArray, FloatArray]:
        """Contexts and rewards of one arm's scored answers; empty for an arm that is not there."""
        if arm_id not in self.arm_ids:
            return self.contexts[:0], np.zeros(0)
        column = self.rewards[:, self.arm_ids.index(arm_id)]
        known = np.isfinite(column)
        return self.contexts[known], column[known]


def scored(table: ScoreTable) -> dict[str, ArmPrior]:
    """Reward priors of all arms that have at least one score."""
    sums = {arm_id: _sums(*table.of(arm_id)) for arm_id in table.arm_ids}
    sums = {arm_id: found for arm_id, found in sums.items() if found.count}
    if not sums:
        return {}
    slopes = common_slopes(list(sums.values()), level=_LEVEL, bias_precision=_BIAS_PRECISION, ridge=_COMMON_RIDGE)
    prior = GaussianPrior.ridge(
        table.contexts.shape[1],
        level=_LEVEL,
        bias_precision=_BIAS_PRECISION,
        slope_precision=_SLOPE_PRECISION,
        slopes=slopes,
    )
    return {arm_id: _fit(prior, found) for arm_id, found in sums.items()}


def with_scores(prior: ArmPrior, contexts: FloatArray, rewards: FloatArray) -> ArmPrior:
    """What `prior` and the arm's own scored answers (m, d), (m,) say together: information adds."""
    sums = _sums(contexts, rewards)
    precision = prior.precision + sums.gram
    mean = np.asarray(np.linalg.solve(precision, prior.precision @ prior.mean + sums.moment), dtype=np.float64)
    return ArmPrior(mean, precision, relative=prior.relative)


def _fit(prior: GaussianPrior, sums: RegressionSums) -> ArmPrior:
    found = posterior(prior, sums, noise_guess=_NOISE_GUESS, noise_weight=_NOISE_WEIGHT)
    return ArmPrior(found.mean, prior.precision + sums.gram)


def _sums(contexts: FloatArray, rewards: FloatArray) -> RegressionSums:
    return RegressionSums(
        gram=contexts.T @ contexts,
        moment=rewards @ contexts,
        square=float(rewards @ rewards),
        count=len(rewards),
    )
