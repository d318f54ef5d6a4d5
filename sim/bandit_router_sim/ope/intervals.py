"""Intervals for a mean of row values, at a fixed time and at every time.

normal      mean ± t·se, by rows or by clusters (sessions): the influence-function interval, with the
            degrees of freedom that the row values leave
bootstrap   resampling requests, or clusters, with all their columns together
bernstein   empirical Bernstein for independent values in [a, b]              Maurer, Pontil 2009, theorem 4
sequence    anytime-valid: predictable plug-in empirical Bernstein           Waudby-Smith, Ramdas 2024, theorem 2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from bandit_router_sim.logs.decisions import FloatArray, IndexArray
from bandit_router_sim.ope.estimators import Estimate, Rows

DEFAULT_LEVEL = 0.95
DEFAULT_RESAMPLES = 1000
_RESAMPLED_AT_ONCE = 1 << 20
_LARGEST_BET = 0.5


@dataclass(frozen=True, slots=True)
class Interval:
    """[low, high] that covers the value with probability `level`, by the method `kind`."""

    kind: str
    low: float
    high: float
    level: float

    def covers(self, value: float) -> bool:
        """Whether the value lies in it."""
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        """high − low."""
        return self.high - self.low


def clusters_of(sessions: Sequence[str]) -> IndexArray | None:
    """Cluster number (n,) of each row; rows with session '' are clusters of their own. None if no row has a session."""
    if not any(sessions):
        return None
    names = [f"session:{name}" if name else f"row:{index}" for index, name in enumerate(sessions)]
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def normal_interval(
    row_values: FloatArray,
    *,
    level: float = DEFAULT_LEVEL,
    clusters: IndexArray | None = None,
    least_variance: float = 0.0,
) -> Interval:
    """mean ± t_ν · √(Σ_g s_g² · G/(G−1)) / n, s_g = Σ_{i∈g} (φ_i − mean), with G clusters (by default the n rows).

    A few heavy rows decide the sum of squares, so it is known less well than G rows suggest: ν are the degrees of
    freedom that its own variance implies, (Σ s_g²)² / (½ Σ (s_g² − their mean)²), at most G − 1 (Satterthwaite, 1946).
    `least_variance`: what a row value's variance is known to be at least (see `anticipated`), whatever was drawn.
    """
    mean = float(row_values.mean())
    squares = np.square(_cluster_sums((row_values - mean)[:, None], clusters)[:, 0])
    groups = len(squares)
    if groups < 2:
        return Interval("normal", -math.inf, math.inf, level)
    total = float(squares.sum())
    error = math.sqrt(max(total * groups / (groups - 1), least_variance * len(row_values))) / len(row_values)
    spread = float(np.square(squares - squares.mean()).sum())
    freedom = min(groups - 1.0, max(1.0, 2.0 * total * total / spread)) if spread > 0.0 else groups - 1.0
    reach = float(stdtrit(freedom, 0.5 + 0.5 * level)) * error
    return Interval("normal", mean - reach, mean + reach, level)


def bootstrap_values(
    estimates: Sequence[Estimate], *, seed: int, resamples: int = DEFAULT_RESAMPLES, clusters: IndexArray | None = None
) -> FloatArray:
    """Replicates (resamples, m) of m estimates over the same n rows, all from the same resampled requests (paired)."""
    columns = np.column_stack([estimate.columns for estimate in estimates])
    with_count = np.column_stack([columns, np.ones(len(columns))])
    sums = _resampled_sums(_cluster_sums(with_count, clusters), seed=seed, resamples=resamples)
    base, numerator, denominator = sums[:, 0:-1:3], sums[:, 1:-1:3], sums[:, 2:-1:3]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(base / sums[:, -1:] + numerator / denominator)


def percentile_interval(replicates: FloatArray, *, level: float = DEFAULT_LEVEL) -> Interval:
    """The central `level` of the replicates (B,); NaN ones are left out; if all are, the whole line."""
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return Interval("bootstrap", -math.inf, math.inf, level)
    low, high = np.quantile(known, [0.5 - 0.5 * level, 0.5 + 0.5 * level]).tolist()
    return Interval("bootstrap", low, high, level)


def bernstein_interval(values: FloatArray, bounds: tuple[float, float], *, level: float = DEFAULT_LEVEL) -> Interval:
    """mean ± (√(2 V ln(4/δ)/n) + 7 R ln(4/δ) / (3(n−1))), R the range, V the sample variance; for independent rows.

    Raises ValueError for a value outside `bounds`.
    """
    _check_bounds(values, bounds)
    count = len(values)
    if count < 2:
        return Interval("bernstein", *bounds, level)
    log_term = math.log(4.0 / (1.0 - level))
    span = bounds[1] - bounds[0]
    reach = math.sqrt(2.0 * float(values.var(ddof=1)) * log_term / count) + 7.0 * span * log_term / (3.0 * (count - 1))
    mean = float(values.mean())
    return Interval("bernstein", max(bounds[0], mean - reach), min(bounds[1], mean + reach), level)


def confidence_sequence(
    values: FloatArray, bounds: tuple[float, float], *, level: float = DEFAULT_LEVEL
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper limits (n,) after each value, all of them valid at once with probability `level`.

    The values, scaled to [0, 1], must have the same mean given the past. With μ̂, σ̂² the regularised running mean and
    variance and λ_t = min(1/2, √(2 ln(2/α) / (σ̂²_{t−1} t ln(1+t)))):

        Σ λ_i X_i / Σ λ_i ± (ln(2/α) + Σ (X_i − μ̂_{i−1})² (−ln(1−λ_i) − λ_i)) / Σ λ_i

    and then the running intersection. If that becomes empty, which happens with probability at most 1 − level, both
    limits stay at the point where it did. Raises ValueError for a value outside `bounds`.
    """
    _check_bounds(values, bounds)
    low, span = bounds[0], bounds[1] - bounds[0]
    scaled = (values - low) / span
    log_term = math.log(2.0 / (1.0 - level))
    bets, means = _bets(scaled, log_term)
    total = np.cumsum(bets)
    centre = np.cumsum(bets * scaled) / total
    penalty = np.cumsum(np.square(scaled - means) * (-np.log1p(-bets) - bets))
    reach = (log_term + penalty) / total
    lower = low + span * np.maximum.accumulate(np.maximum(centre - reach, 0.0))
    upper = low + span * np.minimum.accumulate(np.minimum(centre + reach, 1.0))
    return lower, np.maximum(upper, lower)


def sequence_interval(values: FloatArray, bounds: tuple[float, float], *, level: float = DEFAULT_LEVEL) -> Interval:
    """Where the confidence sequence stands after the last value."""
    if not len(values):
        return Interval("sequence", *bounds, level)
    lower, upper = confidence_sequence(values, bounds, level=level)
    return Interval("sequence", float(lower[-1]), float(upper[-1]), level)


def ips_bounds(rows: Rows, outcome: tuple[float, float]) -> tuple[float, float]:
    """Bounds of w·y for outcomes within `outcome`, W the largest weight of any arm of these rows."""
    largest = _largest(rows, 0.0)
    return min(0.0, largest * outcome[0]), max(0.0, largest * outcome[1])


def dr_bounds(rows: Rows, outcome: tuple[float, float]) -> tuple[float, float]:
    """Bounds of d + w·e for outcomes and predictions within `outcome` = [a, b]: [a − W(b−a), b + W(b−a)].

    W is the largest π(1/p − 1) over the rows' arms: Σ_a π_a q̂_a ≤ b − π_A (b − q̂_A), hence
    d + w(y − q̂_A) ≤ b + (w − π_A)(b − q̂_A) ≤ b + W(b − a), and likewise from below.
    """
    reach = _largest(rows, 1.0) * (outcome[1] - outcome[0])
    return outcome[0] - reach, outcome[1] + reach


def _largest(rows: Rows, offset: float) -> float:
    supported = rows.propensities > 0.0
    return float(np.max(rows.target[supported] * (1.0 / rows.propensities[supported] - offset)))


def _bets(scaled: FloatArray, log_term: float) -> tuple[FloatArray, FloatArray]:
    """λ_t and μ̂_{t−1}, both (n,) and both functions of the values before t."""
    time = np.arange(1, len(scaled) + 1)
    mean = (0.5 + np.cumsum(scaled)) / (time + 1)
    variance = (0.25 + np.cumsum(np.square(scaled - mean))) / (time + 1)
    past_mean = np.concatenate([[0.5], mean[:-1]])
    past_variance = np.concatenate([[0.25], variance[:-1]])
    bets = np.sqrt(2.0 * log_term / (past_variance * time * np.log1p(time)))
    return np.minimum(bets, _LARGEST_BET), past_mean


def _check_bounds(values: FloatArray, bounds: tuple[float, float]) -> None:
    slack = 1e-9 * (bounds[1] - bounds[0])
    if len(values) and not (bounds[0] - slack <= values.min() and values.max() <= bounds[1] + slack):
        raise ValueError(f"values from {values.min():g} to {values.max():g} lie outside {bounds}")


def _cluster_sums(columns: FloatArray, clusters: IndexArray | None) -> FloatArray:
    if clusters is None:
        return columns
    sums = np.zeros((int(clusters.max()) + 1, columns.shape[1]))
    np.add.at(sums, clusters, columns)
    return sums


def _resampled_sums(columns: FloatArray, *, seed: int, resamples: int) -> FloatArray:
    """Column sums (resamples, c) over as many rows as there are, drawn with replacement."""
    random = np.random.Generator(np.random.PCG64(seed))
    groups = len(columns)
    at_once = max(1, min(resamples, _RESAMPLED_AT_ONCE // groups))
    parts = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        draws = random.integers(0, groups, (size, groups)) + groups * np.arange(size)[:, None]
        counts = np.bincount(draws.ravel(), minlength=size * groups).reshape(size, groups)
        parts.append(counts.astype(np.float64) @ columns)
    return np.concatenate(parts)
