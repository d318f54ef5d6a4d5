"""Rewards that are linear in the context, as most learners predict them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from bandit_router.core.learners.protocol import RewardModel
from bandit_router.core.regression import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class LinearRewards(RewardModel):
    """Coefficients (K, d) and covariances (K, d, d), in units of the reward or as the learner measures deviations."""

    mean: FloatArray
    covariance: FloatArray
    _rows: FloatArray = field(init=False, repr=False)
    """Coefficients, then all rows of the covariances, (K + K d, d): one product says all of a single context."""

    def __post_init__(self) -> None:
        dimension = self.mean.shape[1]
        object.__setattr__(self, "_rows", np.concatenate([self.mean, self.covariance.reshape(-1, dimension)]))

    def predict(self, contexts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """x·θ and √(x P x), (n, K)."""
        arms, dimension = self.mean.shape
        products = contexts @ self._rows.T
        spread = products[:, arms:].reshape(len(contexts), arms, dimension)
        variance = np.einsum("nkd,nd->nk", spread, contexts)
        return products[:, :arms], np.sqrt(np.maximum(variance, 0.0))

    def predict_one(self, context: FloatArray) -> tuple[list[float], list[float]]:
        """See `RewardModel.predict_one`."""
        arms, dimension = self.mean.shape
        products = self._rows.dot(context)
        rewards: list[float] = products[:arms].tolist()
        variances: list[float] = products[arms:].reshape(arms, dimension).dot(context).tolist()
        return rewards, [sqrt(variance) if variance > 0.0 else 0.0 for variance in variances]
