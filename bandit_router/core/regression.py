"""Bayesian linear regression from additive statistics (the LinUCB family's A and b).

    gram = Σ x xᵀ     moment = Σ y x     A = Λ₀ + gram     θ = A⁻¹(Λ₀ θ₀ + moment)     P = A⁻¹

Only sums over observations are kept, so the state does not depend on the order of arrival or on how arrivals were
batched, two states can be added, and a correction subtracts exactly what it replaces: afterwards the state is the one
in which the earlier value had never been seen, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False)
class RegressionSums:
    """Σ xxᵀ (d, d), Σ yx (d,), Σ y² and the number of observations."""

    gram: FloatArray
    moment: FloatArray
    square: float = 0.0
    count: int = 0

    @classmethod
    def zeros(cls, dimension: int) -> RegressionSums:
        """No observations yet."""
        return cls(gram=np.zeros((dimension, dimension)), moment=np.zeros(dimension))

    def copy(self) -> RegressionSums:
        """An independent copy."""
        return RegressionSums(self.gram.copy(), self.moment.copy(), self.square, self.count)

    def add(self, x: FloatArray, y: float) -> None:
        """Take one observation in: x (d,), y scalar."""
        self._update(x, y, 1)

    def remove(self, x: FloatArray, y: float) -> None:
        """Take back an observation that had been added."""
        self._update(x, y, -1)

    def subtract(self, other: RegressionSums) -> None:
        """Take back all observations of `other`, which had been added."""
        self.gram -= other.gram
        self.moment -= other.moment
        self.square -= other.square
        self.count -= other.count

    def _update(self, x: FloatArray, y: float, sign: int) -> None:
        scaled = sign * x
        self.gram += np.multiply.outer(scaled, x)
        self.moment += y * scaled
        self.square += sign * y * y
        self.count += sign


@dataclass(frozen=True, slots=True, eq=False)
class GaussianPrior:
    """θ ~ N(mean, precision⁻¹) in units of the observation noise: mean (d,), precision (d, d)."""

    mean: FloatArray
    precision: FloatArray

    @classmethod
    def ridge(
        cls,
        dimension: int,
        *,
        level: float,
        bias_precision: float,
        slope_precision: float,
        slopes: FloatArray | None = None,
    ) -> GaussianPrior:
        """Intercept (coordinate 0) around `level`, slopes around `slopes` (zero if not given)."""
        mean = np.zeros(dimension)
        mean[0] = level
        if slopes is not None:
            mean[1:] = slopes
        diagonal = np.full(dimension, slope_precision, dtype=np.float64)
        diagonal[0] = bias_precision
        return cls(mean=mean, precision=np.diag(diagonal))


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Mean θ (d,) and covariance P (d, d), the latter in units of the observation noise, which is `noise`."""

    mean: FloatArray
    covariance: FloatArray
    noise: float


def shrunk_noise(residual: FloatArray | float, count: FloatArray | float, *, guess: float, weight: float) -> FloatArray:
    """Variances of so many rewards with these sums of squared residuals, shrunk to a guess worth `weight` of them."""
    return np.asarray((np.maximum(0.0, residual) + weight * guess) / (count + weight))


def posterior(prior: GaussianPrior, sums: RegressionSums, *, noise_guess: float, noise_weight: float) -> Posterior:
    """The batch solution; `noise` is the residual variance, shrunk to `noise_guess` as by so many observations."""
    information = prior.precision @ prior.mean + sums.moment
    covariance = np.linalg.inv(prior.precision + sums.gram)
    covariance = 0.5 * (covariance + covariance.T)
    mean = covariance @ information
    residual = sums.square - 2.0 * float(mean @ sums.moment) + float(mean @ sums.gram @ mean)
    noise = float(shrunk_noise(residual, sums.count, guess=noise_guess, weight=noise_weight))
    return Posterior(mean=mean, covariance=covariance, noise=noise)
