"""`pilot`: LinUCB that starts from preferences (PILOT; arXiv 2508.21141).

    A_a = ν Λ_a + Σ x xᵀ,   b_a = ν Λ_a θ_a^pref + Σ r x,   θ_a = A_a⁻¹ b_a,   score θ_a·x + α √(x A_a⁻¹ x)

with (θ_a^pref, Λ_a) the prior loaded into the pool (Λ_a = λ_a I in the paper) and ν its `strength`; an arm that has no
prior starts from the ridge prior. The dot product with an intercept is the default. `cosine=1` scores by the cosine of
context and θ_a as the paper does, without the intercept: this divides every arm's level of quality out, so it is there
for comparison. Contexts are then scaled to unit length where they are scored, not where they were learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.gaussian import RIDGE, check_ridge, fit_gaussian, ridge_prior
from bandit_router.core.learners.linear import LinearRewards
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters, RewardModel
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import FloatArray, GaussianPrior, RegressionSums
from bandit_router.core.spec import SpecError


@dataclass(frozen=True, slots=True, eq=False)
class CosineRewards(RewardModel):
    """Cosine of context and θ, both without the intercept; `aimed` has unit θ over the other coordinates."""

    aimed: LinearRewards

    def predict(self, contexts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cosines in [−1, 1], and √(x P x) of contexts scaled to unit length, (n, K)."""
        return self.aimed.predict(_unit(contexts[:, 1:]))


def _check(parameters: Parameters) -> None:
    check_ridge("pilot", parameters)
    if parameters["strength"] <= 0.0:
        raise SpecError(f"pilot:strength must be positive, got {parameters['strength']:g}")
    if parameters["cosine"] not in (0.0, 1.0):
        raise SpecError(f"pilot:cosine must be 0 or 1, got {parameters['cosine']:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    plain = ridge_prior(knowledge.state.dimension, parameters)

    def prior_of(arm_id: str) -> GaussianPrior:
        prior = knowledge.priors.get(arm_id)
        return plain if prior is None else prior.scaled(parameters["strength"])

    if parameters["cosine"] == 0.0:
        return Fitted(fit_gaussian(knowledge, prior_of), alpha=parameters["alpha"])
    linear = fit_gaussian(_without_intercept(knowledge), lambda arm_id: _slopes(prior_of(arm_id)))
    return Fitted(CosineRewards(LinearRewards(_unit(linear.mean), linear.covariance)), alpha=parameters["alpha"])


def _without_intercept(knowledge: Knowledge) -> Knowledge:
    state = knowledge.state
    arms = {
        arm_id: ArmState(_slope_sums(arm.reward), _slope_sums(arm.tokens), arm.settled)
        for arm_id, arm in state.arms.items()
    }
    return Knowledge(PoolState(state.dimension - 1, arms), knowledge.arm_ids, knowledge.priors)


def _slope_sums(sums: RegressionSums) -> RegressionSums:
    return RegressionSums(sums.gram[1:, 1:], sums.moment[1:], sums.square, sums.count)


def _slopes(prior: GaussianPrior) -> GaussianPrior:
    return GaussianPrior(mean=prior.mean[1:], precision=prior.precision[1:, 1:])


def _unit(vectors: FloatArray) -> FloatArray:
    """Rows scaled to length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = vectors / np.where(lengths > 0.0, lengths, 1.0)
    return scaled


PILOT = Learner(defaults={"alpha": 0.1, "strength": 1.0, "cosine": 0.0, **RIDGE}, check=_check, fit=_fit)
