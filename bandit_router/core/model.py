"""What a pool's learned state predicts: reward with uncertainty, and output tokens, for every arm at once.

Rewards come from the pool's learner (`core.learners`), output tokens from the model that all learners share
(`core.tokens`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from bandit_router.core.bills import Calibration, calibrate
from bandit_router.core.explorations.registry import FIXED_SHARES, Exploration
from bandit_router.core.learners.protocol import Fitted, Knowledge, LearnerChoice
from bandit_router.core.learners.registry import LEARNERS
from bandit_router.core.pool_state import PoolState
from bandit_router.core.prior import Priors
from bandit_router.core.regression import FloatArray
from bandit_router.core.tokens import TokenModel, fit_tokens

NO_PRIORS: Priors = {}
MAX_TOKENS = 1e7
MAX_LOG_TOKENS = log(MAX_TOKENS)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """For n contexts and K arms, arrays of shape (n, K).

    `reward`: its expectation; `deviation`: how uncertain that is, as the learner measures it; `log_tokens`: mean of
    ln(output tokens); `token_model`: what that follows; `cost_ratio` (K,): what bills are of their
    list price at the expected tokens.
    """

    reward: FloatArray
    deviation: FloatArray
    log_tokens: FloatArray
    token_model: TokenModel
    cost_ratio: FloatArray

    def output_tokens(self, most: FloatArray) -> FloatArray:
        """Expected output tokens (n, K), at most `most` (K,)."""
        mean = np.exp(np.minimum(self.log_tokens + self.token_model.lift, MAX_LOG_TOKENS))
        return np.minimum(mean, most)


def capped_tokens(log_tokens: float, most: int) -> float:
    """The tokens whose natural logarithm this is, at most `most`."""
    tokens = exp(log_tokens) if log_tokens < MAX_LOG_TOKENS else MAX_TOKENS
    return tokens if tokens < most else float(most)


@dataclass(frozen=True, slots=True, eq=False)
class PoolModel:
    """A learner fitted to the snapshot `version`, which holds so many `rewards`.

    Its arms are `arm_ids`, in order, its contexts of `dimension`.
    """

    arm_ids: tuple[str, ...]
    dimension: int
    version: int
    rewards: int
    fitted: Fitted
    tokens: TokenModel
    calibration: Calibration

    @property
    def alpha(self) -> float:
        """How many deviations an optimistic reward lies above its expectation."""
        return self.fitted.alpha

    @property
    def has_fixed_shares(self) -> bool:
        """Whether arms are chosen in fixed proportions, whatever money costs."""
        return self.fitted.shares is not None

    def exploration(self, layer: Exploration) -> Exploration:
        """How arms are drawn of their scores where the pool names this layer."""
        return FIXED_SHARES if self.has_fixed_shares else layer.with_uniform(self.fitted.uniform_share)

    def predict(self, contexts: FloatArray) -> Predictions:
        """Predictions at contexts (n, d)."""
        reward, deviation = self.fitted.rewards.predict(contexts)
        return Predictions(
            reward=reward,
            deviation=deviation,
            log_tokens=self.tokens.predict(contexts),
            token_model=self.tokens,
            cost_ratio=self.calibration.ratios,
        )

    def predict_one(self, context: FloatArray) -> tuple[list[float], list[float], list[float]]:
        """At one context (d,), for each of the K arms: reward, deviation, and mean of ln(output tokens)."""
        rewards, deviations = self.fitted.rewards.predict_one(context)
        log_tokens: list[float] = self.tokens.mean.dot(context).tolist()
        return rewards, deviations, log_tokens


def build_model(
    state: PoolState, arm_ids: Sequence[str], learner: LearnerChoice, priors: Priors = NO_PRIORS
) -> PoolModel:
    """The learner fitted to a state for `arm_ids` (arms never observed get their prior)."""
    knowledge = Knowledge(state, tuple(arm_ids), priors)
    return PoolModel(
        arm_ids=knowledge.arm_ids,
        dimension=state.dimension,
        version=state.version,
        rewards=state.rewards,
        fitted=LEARNERS[learner.name].fit(knowledge, learner.parameters),
        tokens=fit_tokens(state, arm_ids),
        calibration=calibrate(state.bills, arm_ids),
    )
