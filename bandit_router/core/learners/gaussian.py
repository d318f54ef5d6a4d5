"""Bayesian linear rewards: one regression per arm, from its additive sums (Li et al., 2010, disjoint models)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.linear import LinearRewards
from bandit_router.core.learners.protocol import Knowledge, Parameters
from bandit_router.core.prior_strength import believed, strengths
from bandit_router.core.regression import FloatArray, GaussianPrior, Posterior, posterior
from bandit_router.core.spec import SpecError

RIDGE: Parameters = {"level": 0.8, "bias": 1.0, "ridge": 1.0}
"""The prior of an arm nobody knows: intercept around `level` with precision `bias`, slopes with precision `ridge`."""

_NOISE_GUESS = 0.02
_NOISE_WEIGHT = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class GaussianRewards(LinearRewards):
    """Posterior means and covariances, and the variance (K,) of the rewards' noise."""

    noise: FloatArray


def check_ridge(name: str, parameters: Parameters) -> None:
    """Raise SpecError unless the prior's precisions are positive and the optimism, if there is one, is none less."""
    if parameters.get("alpha", 0.0) < 0.0:
        raise SpecError(f"{name}:alpha must not be negative, got {parameters['alpha']:g}")
    for key in ("bias", "ridge"):
        if parameters[key] <= 0.0:
            raise SpecError(f"{name}:{key} must be positive, got {parameters[key]:g}")


def ridge_prior(dimension: int, parameters: Parameters) -> GaussianPrior:
    """The prior that RIDGE describes."""
    return GaussianPrior.ridge(
        dimension,
        level=parameters["level"],
        bias_precision=parameters["bias"],
        slope_precision=parameters["ridge"],
    )


def trusted_priors(knowledge: Knowledge, ridge: GaussianPrior) -> Mapping[str, GaussianPrior]:
    """The imported priors, each as strong as the rewards so far let it be, together with `ridge`."""
    found = prior_strengths(knowledge, ridge)
    return {arm_id: believed(prior, found[arm_id], ridge) for arm_id, prior in knowledge.priors.items()}


def prior_strengths(knowledge: Knowledge, ridge: GaussianPrior) -> Mapping[str, float]:
    """How strongly each imported prior is borne out by its arm's rewards so far, beside a plain `ridge`."""
    sums = {arm_id: arm.reward for arm_id, arm in knowledge.state.arms.items() if arm_id in knowledge.priors}
    return strengths(knowledge.priors, sums, ridge, noise_guess=_NOISE_GUESS, noise_weight=_NOISE_WEIGHT)


def fit_gaussian(knowledge: Knowledge, prior_of: Callable[[str], GaussianPrior]) -> GaussianRewards:
    """The posterior of every arm under the prior that `prior_of` gives for its id."""
    state = knowledge.state
    empty = ArmState.empty(state.dimension)
    fits: list[Posterior] = [
        posterior(
            prior_of(arm_id),
            state.arms.get(arm_id, empty).reward,
            noise_guess=_NOISE_GUESS,
            noise_weight=_NOISE_WEIGHT,
        )
        for arm_id in knowledge.arm_ids
    ]
    dimension = state.dimension
    return GaussianRewards(
        mean=np.array([fit.mean for fit in fits]).reshape(-1, dimension),
        covariance=np.array([fit.covariance for fit in fits]).reshape(-1, dimension, dimension),
        noise=np.array([fit.noise for fit in fits]),
    )
