"""Off-policy estimators of a policy's mean outcome, for rewards and for costs alike.

With w = π(A|x)/p(A|x), q̂ a cross-fitted model of the outcome, d(x) = Σ_a π(a|x) q̂(x,a) and e = y − q̂(x,A):

    IPS          mean(w y)                                     Horvitz, Thompson 1952
    clipped IPS  mean(min(w, M) y)                             Ionides 2008
    SNIPS        Σ w y / Σ w                                   Hájek; Swaminathan, Joachims 2015
    DM           mean(d)
    DR           mean(d + w e)                                 Dudík, Langford, Li 2011
    SNDR         mean(d) + Σ w e / Σ w                         Thomas, Brunskill 2016
    SWITCH-DR    mean(d + w 1{w ≤ T} e)                        Wang, Agarwal, Dudík 2017
    DRos         mean(d + w κ/(w² + κ) e)                      Su, Dimakopoulou, Krishnamurthy, Dudík 2020
    replay       mean(y | accepted), P(accept) = w / max w     Li, Chu, Langford, Wang 2011

A missing outcome counts with weight 0 and an observed one with m = 1/ê(observed), beside w (see `missing`). Each of
these is mean(base) + Σ numerator / Σ denominator, and `Estimate` keeps the three columns, so that every interval is
computed in one way: the row values

    base + ρ + (numerator − ρ·denominator) / mean(denominator),     ρ = Σ numerator / Σ denominator

have the estimate as their mean and its influence function as their deviations (the delta method for a ratio).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.decisions import FloatArray, IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What the estimators read of n rows and K arms.

    `target`, `propensities` (n, K): π and p; `actions` (n,); `outcomes` (n,): finite, anything where missing;
    `observed_weights` (n,): 0 where the outcome is missing, else 1/ê; `predictions` (n, K): q̂, not fitted on the row.
    """

    target: FloatArray
    propensities: FloatArray
    actions: IndexArray
    outcomes: FloatArray
    observed_weights: FloatArray
    predictions: FloatArray

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def weights(self) -> FloatArray:
        """w (n,) = π(A|x)/p(A|x)."""
        ratio: FloatArray = _chosen(self.target, self.actions) / _chosen(self.propensities, self.actions)
        return ratio

    @property
    def direct(self) -> FloatArray:
        """d (n,): the model's prediction of the policy's outcome."""
        value: FloatArray = np.sum(self.target * self.predictions, axis=1)
        return value

    @property
    def residuals(self) -> FloatArray:
        """e (n,): outcome minus prediction at the chosen arm."""
        error: FloatArray = self.outcomes - _chosen(self.predictions, self.actions)
        return error


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """mean(base) + Σ numerator / Σ denominator, from columns (n,); the ratio is 0/0 = NaN where nothing has weight."""

    name: str
    base: FloatArray
    numerator: FloatArray
    denominator: FloatArray
    parameter: float = math.nan

    @property
    def value(self) -> float:
        """The point estimate."""
        return float(self.base.mean() + _ratio(self.numerator.sum(), self.denominator.sum()))

    @property
    def row_values(self) -> FloatArray:
        """Values (n,) whose mean is the estimate and whose deviations are its influence function."""
        ratio = _ratio(self.numerator.sum(), self.denominator.sum())
        values: FloatArray = self.base + ratio + (self.numerator - ratio * self.denominator) / self.denominator.mean()
        return values

    @property
    def columns(self) -> FloatArray:
        """The three columns (n, 3), for resampling."""
        return np.column_stack([self.base, self.numerator, self.denominator])


def ips(rows: Rows) -> Estimate:
    """Inverse propensity scores; unbiased."""
    return _mean("ips", np.zeros(len(rows)), rows.weights * rows.observed_weights * rows.outcomes)


def clipped_ips(rows: Rows, largest: float | None = None) -> Estimate:
    """Weights clipped at `largest`, by default √n (Ionides 2008): biased towards 0, with bounded variance."""
    bound = math.sqrt(len(rows)) if largest is None else largest
    clipped = np.minimum(rows.weights, bound)
    return _mean("clipped_ips", np.zeros(len(rows)), clipped * rows.observed_weights * rows.outcomes, parameter=bound)


def snips(rows: Rows) -> Estimate:
    """Self-normalised: a shift of all outcomes shifts the estimate by as much; bias of order 1/n."""
    weights = rows.weights * rows.observed_weights
    return Estimate("snips", np.zeros(len(rows)), weights * rows.outcomes, weights)


def dm(rows: Rows) -> Estimate:
    """The model alone. Its row values know neither the model's bias nor its noise."""
    return _mean("dm", rows.direct, np.zeros(len(rows)))


def dr(rows: Rows) -> Estimate:
    """Doubly robust: unbiased for any q̂ that was not fitted on the row."""
    return _mean("dr", rows.direct, rows.weights * rows.observed_weights * rows.residuals)


def sndr(rows: Rows) -> Estimate:
    """Doubly robust with a self-normalised correction; the model alone where no row has weight."""
    weights = rows.weights * rows.observed_weights
    if not weights.any():
        return _mean("sndr", rows.direct, np.zeros(len(rows)))
    return Estimate("sndr", rows.direct, weights * rows.residuals, weights)


def switch_dr(rows: Rows, threshold: float | None = None) -> Estimate:
    """Rows with w > threshold are left to the model. By default the threshold of least estimated squared error."""
    bound = _least_error(rows, _switched, _weight_quantiles(rows)) if threshold is None else threshold
    return _shrunk("switch_dr", rows, _switched(rows.weights, bound), bound)


def dros(rows: Rows, shrinkage: float | None = None) -> Estimate:
    """Optimistic shrinkage: κ → 0 is DM, κ → ∞ is DR. By default the κ of least estimated squared error."""
    kappa = _least_error(rows, _optimistic, _DROS_GRID) if shrinkage is None else shrinkage
    return _shrunk("dros", rows, _optimistic(rows.weights, kappa), kappa)


def replay(rows: Rows, draws: FloatArray) -> Estimate:
    """Rejection sampling: a row is accepted if its uniform draw (n,) is below w / max w.

    The maximum is over all arms of all rows, not only the chosen ones, so that acceptance depends on nothing but w.
    On a log with uniform propensities and a deterministic target this accepts exactly the rows on which they agree.
    """
    supported = rows.propensities > 0.0
    bound = float(np.max(rows.target[supported] / rows.propensities[supported]))
    accepted = (draws < rows.weights / bound) * rows.observed_weights
    return Estimate("replay", np.zeros(len(rows)), accepted * rows.outcomes, accepted, parameter=bound)


Estimator = Callable[[Rows], Estimate]

ESTIMATORS: Mapping[str, Estimator] = {
    "ips": ips,
    "clipped_ips": clipped_ips,
    "snips": snips,
    "dm": dm,
    "dr": dr,
    "sndr": sndr,
    "switch_dr": switch_dr,
    "dros": dros,
}
"""All that need nothing but `Rows`, by name."""

DEFAULT_ESTIMATOR = "dr"

MODEL_LED = frozenset({"dm", "switch_dr", "dros"})
"""Those that may leave rows to the model alone: their own row values do not know of the model's error."""


def estimator_with_intervals(name: str) -> Estimator:
    """The estimator of that name, if its row values know of all its errors. Raises ValueError otherwise."""
    known = [other for other in ESTIMATORS if other not in MODEL_LED]
    if name not in known:
        raise ValueError(f"{name!r} has no intervals of its own; choose one of {', '.join(known)}")
    return ESTIMATORS[name]


_DROS_GRID = np.geomspace(1e-1, 1e6, 15)
_SWITCH_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 1.0)


def _least_error(rows: Rows, shrink: Callable[[FloatArray, float], FloatArray], grid: FloatArray) -> float:
    """The parameter of least estimated variance + bias² (Su et al. 2020, model selection by a direct bias estimate)."""
    weights = rows.weights
    scaled = rows.observed_weights * rows.residuals

    def error(parameter: float) -> float:
        shrunk = shrink(weights, parameter)
        variance = np.var(rows.direct + shrunk * scaled) / len(rows)
        return float(variance + np.mean((weights - shrunk) * scaled) ** 2)

    return float(min(grid.tolist(), key=error))


def _weight_quantiles(rows: Rows) -> FloatArray:
    return np.quantile(rows.weights, _SWITCH_QUANTILES)


def _switched(weights: FloatArray, threshold: float) -> FloatArray:
    return np.where(weights <= threshold, weights, 0.0)


def _optimistic(weights: FloatArray, kappa: float) -> FloatArray:
    if math.isinf(kappa):
        return weights
    return weights * kappa / (np.square(weights) + kappa) if kappa > 0.0 else np.zeros_like(weights)


def _shrunk(name: str, rows: Rows, weights: FloatArray, parameter: float) -> Estimate:
    return _mean(name, rows.direct, weights * rows.observed_weights * rows.residuals, parameter=parameter)


def _mean(name: str, base: FloatArray, numerator: FloatArray, *, parameter: float = math.nan) -> Estimate:
    return Estimate(name, base, numerator, np.ones(len(base)), parameter)


def _chosen(values: FloatArray, actions: IndexArray) -> FloatArray:
    column: FloatArray = np.take_along_axis(values, actions[:, None], axis=1)[:, 0]
    return column


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator != 0.0 else math.nan
