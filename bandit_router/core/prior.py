"""What is known of an arm's rewards before its first outcome: the form in which priors reach a learner.

Priors are fitted elsewhere (from preference battles or scored logs) and loaded into a pool; an arm that has none is
left to its learner's own ridge prior.

Battles tell how arms differ far better than how good all of them are. What they say of an arm is therefore off by an
error that all arms of the prior share and by one of its own, and a prior may keep the two apart (`Relative`). Its mean
and precision are the marginal in any case: what is to be believed of the arm alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router.core.regression import FloatArray, GaussianPrior

_ROUNDING = 1e-6
"""So much of the precision may be lost where a part of it is taken away."""


@dataclass(frozen=True, slots=True, eq=False)
class Relative:
    """mean = θ + e + ε, with ε ~ N(0, precision⁻¹) the arm's own error and e ~ N(0, shared) that of all arms together.

    `mean` (d,), `precision` and `shared` (d, d); covariances in units of the reward noise. Raises ValueError as
    `ArmPrior`.
    """

    mean: FloatArray
    precision: FloatArray
    shared: FloatArray

    def __post_init__(self) -> None:
        _check("the own precision", self.mean, self.precision)
        _check("the shared covariance", self.mean, self.shared)

    @property
    def marginal(self) -> GaussianPrior:
        """What it says of the arm alone: as uncertain as both errors together."""
        precision = np.linalg.inv(np.linalg.inv(self.precision) + self.shared)
        return GaussianPrior(mean=self.mean, precision=0.5 * (precision + precision.T))

    def alone(self) -> ArmPrior:
        """The prior of an arm of which nothing else is known."""
        marginal = self.marginal
        return ArmPrior(marginal.mean, marginal.precision, relative=self)


@dataclass(frozen=True, slots=True, eq=False)
class ArmPrior:
    """θ ~ N(mean, precision⁻¹) in units of the reward noise, in the pool's coordinates: mean (d,), precision (d, d).

    `relative`: the part of this that is known up to an error which other arms share, if the prior tells. The rest is
    independent of other arms (`absolute`). Raises ValueError for shapes that do not match, values that are not finite,
    a precision that is not symmetric and positive definite, or a relative part that says more than the whole.
    """

    mean: FloatArray
    precision: FloatArray
    relative: Relative | None = None

    def __post_init__(self) -> None:
        _check("the precision", self.mean, self.precision)
        if self.relative is not None:
            if self.relative.mean.shape != self.mean.shape:
                raise ValueError(f"a relative part of {self.relative.mean.shape} and a mean {self.mean.shape}")
            least = float(np.linalg.eigvalsh(self.absolute[0])[0])
            if least < -_ROUNDING * float(np.abs(self.precision).max()):
                raise ValueError("the relative part must not say more than mean and precision")

    @property
    def dimension(self) -> int:
        """Length d of the contexts it is about."""
        return len(self.mean)

    @property
    def absolute(self) -> tuple[FloatArray, FloatArray]:
        """What is known independently of other arms: its precision (d, d), and precision times mean (d,)."""
        information = self.precision @ self.mean
        if self.relative is None:
            return self.precision, information
        part = self.relative.marginal
        return self.precision - part.precision, information - part.precision @ part.mean

    def scaled(self, strength: float) -> GaussianPrior:
        """The prior as if `strength` times as much had been seen before."""
        return GaussianPrior(mean=self.mean, precision=strength * self.precision)


Priors = Mapping[str, ArmPrior]
"""Priors by arm id."""


def _check(name: str, mean: FloatArray, matrix: FloatArray) -> None:
    """Raise ValueError unless `matrix` is one of a normal distribution around `mean`."""
    size = len(mean)
    if mean.shape != (size,) or matrix.shape != (size, size):
        raise ValueError(f"{name} {matrix.shape} does not match a mean {mean.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
        raise ValueError(f"the mean and {name} must be finite")
    if not np.allclose(matrix, matrix.T):
        raise ValueError(f"{name} must be symmetric")
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} must be positive definite") from None
