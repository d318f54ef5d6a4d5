"""`dlinucb`: a ridge regression per arm in which the past fades at one rate (D-LinUCB; Russac et al., 2019).

    V = Λ + Σ γ^age xxᵀ      Ṽ = Λ + Σ γ^(2 age) xxᵀ      θ = V⁻¹ (Λθ₀ + Σ γ^age y x)

Λ and θ₀ are those of the prior, which does not fade. An arm's optimistic reward is θ·x + α √(xᵀ V⁻¹ Ṽ V⁻¹ x): the
variance of θ counts the square of each outcome's weight. At γ = 1 this is `linucb`.

Ages are counted in rewards of the pool (`core.discounted`), which keeps the sums for this learner's γ alone. As long as
the state has none of this γ (the pool has just named it), the learner is fitted to the sums that would begin now.
"""

from __future__ import annotations

import numpy as np

from bandit_router.core.discounted import ArmDiscounted, Discounted, begun
from bandit_router.core.learners.gaussian import (
    RIDGE,
    check_ridge,
    ridge_prior,
    trusted_priors,
)
from bandit_router.core.learners.linear import LinearRewards
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import FloatArray, GaussianPrior
from bandit_router.core.spec import SpecError


def _check(parameters: Parameters) -> None:
    check_ridge("dlinucb", parameters)
    if not 0.0 < parameters["gamma"] <= 1.0:
        raise SpecError(f"dlinucb:gamma must be above 0 and at most 1, got {parameters['gamma']:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    dimension = knowledge.state.dimension
    ridge = ridge_prior(dimension, parameters)
    trusted = trusted_priors(knowledge, ridge)
    sums, none = discounted_of(knowledge.state, parameters["gamma"]).arms, ArmDiscounted.zeros(dimension)
    found = [_solve(trusted.get(arm_id, ridge), sums.get(arm_id, none)) for arm_id in knowledge.arm_ids]
    rewards = LinearRewards(
        mean=np.array([mean for mean, _ in found]).reshape(-1, dimension),
        covariance=np.array([covariance for _, covariance in found]).reshape(-1, dimension, dimension),
    )
    return Fitted(rewards, alpha=parameters["alpha"])


def discounted_of(state: PoolState, gamma: float) -> Discounted:
    """The state's sums of this γ, or those that it would begin now."""
    if state.discounted.gamma == gamma:
        return state.discounted
    return begun(gamma, state.arms, clock=state.rewards)


def _solve(prior: GaussianPrior, sums: ArmDiscounted) -> tuple[FloatArray, FloatArray]:
    inverse = np.linalg.inv(prior.precision + sums.gram)
    inverse = 0.5 * (inverse + inverse.T)
    mean: FloatArray = inverse @ (prior.precision @ prior.mean + sums.moment)
    covariance: FloatArray = inverse @ (prior.precision + sums.square_gram) @ inverse
    return mean, covariance


DLINUCB = Learner(
    defaults={"alpha": 0.1, "gamma": 0.997, **RIDGE},
    check=_check,
    fit=_fit,
    discounts=lambda parameters: parameters["gamma"],
)
