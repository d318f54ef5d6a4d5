"""What is known of an arm's rewards before its first outcome: the form in which priors reach a learner.

Priors are fitted elsewhere (from preference battles or scored logs) and loaded into a pool; an arm that has none is
left to its learner's own ridge prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router.core.regression import FloatArray, GaussianPrior


@dataclass(frozen=True, slots=True, eq=False)
class ArmPrior:
    """θ ~ N(mean, precision⁻¹) in units of the reward noise, in the pool's coordinates: mean (d,), precision (d, d).

    Raises ValueError for shapes that do not match, values that are not finite, or a precision that is not symmetric
    and positive definite.
    """

    mean: FloatArray
    precision: FloatArray

    def __post_init__(self) -> None:
        size = len(self.mean)
        if self.mean.shape != (size,) or self.precision.shape != (size, size):
            raise ValueError(f"a mean {self.mean.shape} and a precision {self.precision.shape} do not match")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.precision).all()):
            raise ValueError("mean and precision must be finite")
        if not np.allclose(self.precision, self.precision.T):
            raise ValueError("the precision must be symmetric")
        try:
            np.linalg.cholesky(self.precision)
        except np.linalg.LinAlgError:
            raise ValueError("the precision must be positive definite") from None

    @property
    def dimension(self) -> int:
        """Length d of the contexts it is about."""
        return len(self.mean)

    def scaled(self, strength: float) -> GaussianPrior:
        """The prior as if `strength` times as much had been seen before."""
        return GaussianPrior(mean=self.mean, precision=strength * self.precision)


Priors = Mapping[str, ArmPrior]
"""Priors by arm id."""
