"""Series behind the plots, thinned and binned so that a page of many logs stays small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.full import FloatArray, IndexArray

POINTS = 160
BINS = 10
_Z95 = 1.96


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Per bin of equally many requests: mean of what was expected, mean of what came, half width of the latter's 95 %
    interval. Arrays (bins,).
    """

    expected: FloatArray
    realised: FloatArray
    half_width: FloatArray


def thinned(count: int, points: int = POINTS) -> IndexArray:
    """At most `points` positions in 0 … count − 1, evenly spread, the first and the last among them."""
    positions: IndexArray = np.unique(np.linspace(0, count - 1, min(points, count)).round().astype(np.int64))
    return positions


def spent_share(costs_usd: FloatArray, *, budget_usd: float) -> FloatArray:
    """Share (n,) of the whole budget that is spent after each request."""
    return np.asarray(np.cumsum(costs_usd, dtype=np.float64) / (budget_usd * len(costs_usd)))


def cumulative_regret(rewards: FloatArray, best: FloatArray) -> FloatArray:
    """Reward (n,) lost to `best` (n,) up to each request; both of the same requests in the same order."""
    return np.asarray(np.cumsum(best - rewards))


def calibration(expected: FloatArray, realised: FloatArray, request: IndexArray, *, bins: int = BINS) -> Calibration:
    """Realised against expected (n,), in bins of `expected`. `request` (n,): equal where it is the same query again.

    The intervals take the cells of one query for one observation (clustered standard errors).
    """
    order = np.argsort(expected, kind="stable")
    members = [part for part in np.array_split(order, bins) if len(part)]
    means = [float(realised[part].mean()) for part in members]
    return Calibration(
        expected=np.asarray([expected[part].mean() for part in members]),
        realised=np.asarray(means),
        half_width=np.asarray(
            [_Z95 * _standard_error(realised[p] - m, request[p]) for p, m in zip(members, means, strict=True)]
        ),
    )


def _standard_error(residuals: FloatArray, request: IndexArray) -> float:
    totals = np.bincount(np.unique(request, return_inverse=True)[1], weights=residuals)
    return float(np.sqrt(np.sum(totals**2)) / len(residuals))


def distribution(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Values in ascending order, thinned, and the share of all (n,) that is at most each."""
    positions = thinned(len(values))
    return np.sort(values)[positions], (positions + 1) / len(values)
