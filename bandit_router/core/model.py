"""What a pool's learned state predicts: reward with uncertainty, and output tokens, for every arm at once.

Rewards come from one Bayesian linear regression per arm (LinUCB; Li et al., 2010). Output tokens come from one on
ln(tokens), because token counts are positive and skewed; the mean of the log-normal is exp(μ + s²/2). Prices stay
outside: they multiply the token counts at the moment of use, so a price change acts at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.pool_state import ArmState, PoolState
from bandit_router.core.regression import FloatArray, GaussianPrior, Posterior, posterior
from bandit_router.core.sharing import common_slopes
from bandit_router.core.spec import SpecError, parse_spec

LEARNERS: Mapping[str, Mapping[str, float]] = {
    "linucb": {"alpha": 0.1, "level": 0.8, "bias": 1.0, "ridge": 1.0},
}
"""Learners and the defaults of their parameters; `alpha` scales the optimism, the others are prior precisions."""

PRIOR_OUTPUT_TOKENS = 300.0
_TOKEN_BIAS_PRECISION = 0.3
_TOKEN_COMMON_RIDGE = 1.0
_TOKEN_SLOPE_PRECISION = 5.0
_TOKEN_NOISE_GUESS = 0.5
_REWARD_NOISE_GUESS = 0.02
_NOISE_WEIGHT = 10.0
_MAX_LOG_TOKENS = math.log(1e7)


def parse_learner(text: str) -> Mapping[str, float]:
    """Parameters of a learner as a pool names it. Raises SpecError."""
    name, parameters = parse_spec(text, LEARNERS)
    if parameters["alpha"] < 0.0:
        raise SpecError(f"{name}:alpha must not be negative, got {parameters['alpha']:g}")
    for key in ("bias", "ridge"):
        if parameters[key] <= 0.0:
            raise SpecError(f"{name}:{key} must be positive, got {parameters[key]:g}")
    return parameters


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """For n contexts and K arms, arrays of shape (n, K).

    `reward`: posterior mean; `deviation`: √(x P x), in units of the noise; `log_tokens`: mean of ln(output tokens);
    `log_tokens_sd` (K,): its residual standard deviation.
    """

    reward: FloatArray
    deviation: FloatArray
    log_tokens: FloatArray
    log_tokens_sd: FloatArray

    def output_tokens(self, most: FloatArray) -> FloatArray:
        """Expected output tokens (n, K), at most `most` (K,)."""
        mean = np.exp(np.minimum(self.log_tokens + 0.5 * np.square(self.log_tokens_sd), _MAX_LOG_TOKENS))
        return np.minimum(mean, most)

    def output_tokens_quantile(self, most: FloatArray, normal_quantile: float) -> FloatArray:
        """Upper quantile of the output tokens (n, K), at most `most` (K,)."""
        upper = self.log_tokens + normal_quantile * self.log_tokens_sd
        return np.minimum(np.exp(np.minimum(upper, _MAX_LOG_TOKENS)), most)


@dataclass(frozen=True, slots=True, eq=False)
class PoolModel:
    """Posteriors of the arms of a pool, in the order of `arm_ids`, made from the snapshot `version`."""

    arm_ids: tuple[str, ...]
    version: int
    reward_mean: FloatArray
    reward_covariance: FloatArray
    token_mean: FloatArray
    token_sd: FloatArray
    alpha: float

    def predict(self, contexts: FloatArray) -> Predictions:
        """Predictions at contexts (n, d)."""
        spread = contexts[None, :, :] @ self.reward_covariance
        variance = np.einsum("knd,nd->nk", spread, contexts)
        return Predictions(
            reward=contexts @ self.reward_mean.T,
            deviation=np.sqrt(np.maximum(variance, 0.0)),
            log_tokens=contexts @ self.token_mean.T,
            log_tokens_sd=self.token_sd,
        )


def build_model(state: PoolState, arm_ids: Sequence[str], parameters: Mapping[str, float]) -> PoolModel:
    """Posteriors of `arm_ids` (arms never observed get their prior) from a state; `parameters` as in LEARNERS."""
    reward_prior = GaussianPrior.ridge(
        state.dimension,
        level=parameters["level"],
        bias_precision=parameters["bias"],
        slope_precision=parameters["ridge"],
    )
    token_prior = _token_prior(state)
    empty = ArmState.empty(state.dimension)
    arms = [state.arms.get(arm_id, empty) for arm_id in arm_ids]
    rewards = [_fit(reward_prior, arm, tokens=False) for arm in arms]
    tokens = [_fit(token_prior, arm, tokens=True) for arm in arms]
    dimension = state.dimension
    return PoolModel(
        arm_ids=tuple(arm_ids),
        version=state.version,
        reward_mean=np.array([p.mean for p in rewards]).reshape(-1, dimension),
        reward_covariance=np.array([p.covariance for p in rewards]).reshape(-1, dimension, dimension),
        token_mean=np.array([p.mean for p in tokens]).reshape(-1, dimension),
        token_sd=np.sqrt(np.array([p.noise for p in tokens])),
        alpha=parameters["alpha"],
    )


def _token_prior(state: PoolState) -> GaussianPrior:
    """Every arm's answers are expected to grow and shrink with the query as all arms' together do."""
    level = math.log(PRIOR_OUTPUT_TOKENS)
    slopes = common_slopes(
        [ArmState.empty(state.dimension).tokens, *[arm.tokens for arm in state.arms.values()]],
        level=level,
        bias_precision=_TOKEN_BIAS_PRECISION,
        ridge=_TOKEN_COMMON_RIDGE,
    )
    return GaussianPrior.ridge(
        state.dimension,
        level=level,
        bias_precision=_TOKEN_BIAS_PRECISION,
        slope_precision=_TOKEN_SLOPE_PRECISION,
        slopes=slopes,
    )


def _fit(prior: GaussianPrior, arm: ArmState, *, tokens: bool) -> Posterior:
    sums, guess = (arm.tokens, _TOKEN_NOISE_GUESS) if tokens else (arm.reward, _REWARD_NOISE_GUESS)
    return posterior(prior, sums, noise_guess=guess, noise_weight=_NOISE_WEIGHT)
