"""The model of output tokens, which all learners share.

One Bayesian linear regression per arm on ln(tokens), because token counts are positive and skewed; the mean of the
log-normal is exp(μ + s²/2). Prices stay outside: they multiply the token counts at the moment of use, so a price
change acts at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.arm_state import ArmState
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import FloatArray, GaussianPrior, posterior
from bandit_router.core.sharing import common_slopes

PRIOR_OUTPUT_TOKENS = 300.0
_BIAS_PRECISION = 0.3
_COMMON_RIDGE = 1.0
_SLOPE_PRECISION = 5.0
_NOISE_GUESS = 0.5
_NOISE_WEIGHT = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class TokenModel:
    """ln(output tokens) of K arms: posterior means (K, d) and residual standard deviations (K,).

    `lift` (K,): by how much ln of the mean lies above the mean of ln.
    """

    mean: FloatArray
    sd: FloatArray
    lift: FloatArray

    def predict(self, contexts: FloatArray) -> FloatArray:
        """Mean of ln(output tokens) (n, K) at contexts (n, d)."""
        found: FloatArray = contexts @ self.mean.T
        return found


def fit_tokens(state: PoolState, arm_ids: Sequence[str]) -> TokenModel:
    """The token model of `arm_ids` (arms never observed get their prior)."""
    prior = _prior(state)
    empty = ArmState.empty(state.dimension).tokens
    sums = [state.arms[arm_id].tokens if arm_id in state.arms else empty for arm_id in arm_ids]
    fits = [posterior(prior, arm, noise_guess=_NOISE_GUESS, noise_weight=_NOISE_WEIGHT) for arm in sums]
    sd = np.sqrt(np.array([fit.noise for fit in fits]))
    return TokenModel(
        mean=np.array([fit.mean for fit in fits]).reshape(-1, state.dimension), sd=sd, lift=0.5 * np.square(sd)
    )


def _prior(state: PoolState) -> GaussianPrior:
    """Every arm's answers are expected to grow and shrink with the query as all arms' together do."""
    level = math.log(PRIOR_OUTPUT_TOKENS)
    slopes = common_slopes(
        [ArmState.empty(state.dimension).tokens, *[arm.tokens for arm in state.arms.values()]],
        level=level,
        bias_precision=_BIAS_PRECISION,
        ridge=_COMMON_RIDGE,
    )
    return GaussianPrior.ridge(
        state.dimension,
        level=level,
        bias_precision=_BIAS_PRECISION,
        slope_precision=_SLOPE_PRECISION,
        slopes=slopes,
    )
