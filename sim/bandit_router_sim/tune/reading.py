"""Reading a frontier in both directions: the quality of a budget, and the budget of a quality.

Between two points the frontier is the straight line, which a mixture of their policies attains in expectation; a
point below a cheaper one is raised to it, because the cheaper policy may be used instead. Nothing is read outside the
points: what lies there was not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.pigeonhole import central


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points by rising money: USD (G,) and quality (G,) per request, and replicates (R, G) of both."""

    usd: FloatArray
    quality: FloatArray
    usd_replicates: FloatArray
    quality_replicates: FloatArray


@dataclass(frozen=True, slots=True)
class Advice:
    """An answer: the quality of a budget, or the budget in USD per request of a quality, with its 95 % interval.

    `value` is NaN and `refusal` says why where the points do not reach; `unreached_share`: of replicates in which they
    do not, which are left out of the interval.
    """

    asked: float
    value: float
    low: float
    high: float
    unreached_share: float
    refusal: str = ""


def quality_of(curve: Curve, budget_usd: float) -> Advice:
    """The quality that `budget_usd` per request buys."""
    refusal = "" if curve.usd[0] <= budget_usd <= curve.usd[-1] else _outside(curve.usd, "USD per request")
    return _advice(curve, budget_usd, _quality_at, refusal)


def budget_for(curve: Curve, quality: float) -> Advice:
    """The least money per request that buys `quality`."""
    reached = np.maximum.accumulate(curve.quality)
    refusal = "" if reached[0] <= quality <= reached[-1] else _outside(reached, "of quality")
    return _advice(curve, quality, _usd_at, refusal)


Read = Callable[[FloatArray, FloatArray, float], float]


def _advice(curve: Curve, asked: float, read: Read, refusal: str) -> Advice:
    if refusal:
        return Advice(asked, math.nan, math.nan, math.nan, math.nan, refusal)
    pairs = zip(curve.usd_replicates, curve.quality_replicates, strict=True)
    found = np.array([read(usd, quality, asked) for usd, quality in pairs])
    known = found[np.isfinite(found)]
    low, high = central(known) if len(known) else (math.nan, math.nan)
    return Advice(asked, read(curve.usd, curve.quality, asked), low, high, 1.0 - len(known) / len(found))


def _quality_at(usd: FloatArray, quality: FloatArray, budget_usd: float) -> float:
    order = np.argsort(usd, kind="stable")
    reached = np.maximum.accumulate(quality[order])
    return float(np.interp(budget_usd, usd[order], reached, left=math.nan, right=float(reached[-1])))


def _usd_at(usd: FloatArray, quality: FloatArray, wanted: float) -> float:
    order = np.argsort(usd, kind="stable")
    usd, reached = usd[order], np.maximum.accumulate(quality[order])
    right = int(np.searchsorted(reached, wanted))
    if right == len(usd):
        return math.nan
    if right == 0:
        return float(usd[0])
    share = (wanted - reached[right - 1]) / (reached[right] - reached[right - 1])
    return float(usd[right - 1] + share * (usd[right] - usd[right - 1]))


def _outside(values: FloatArray, unit: str) -> str:
    return f"outside the points, which reach from {values[0]:.4g} to {values[-1]:.4g} {unit}; nothing is extrapolated"
