"""`igw`: inverse-gap weighting (SquareCB; Foster and Rakhlin, 2020, normalised as in Abe and Long, 1999).

    p_a = 1 / (ζ + τ (max g − g_a)),   Σ_a p_a = 1,   ζ ∈ [1, K]

The sum S falls in ζ and its inverse is concave, as that of resistors in parallel is in each of them. So Newton's method
on 1/S = 1 from ζ = 1, where S is at least 1, climbs to the root without ever passing it; where arms are about equal or
far apart 1/S is nearly a line, so six steps reach machine precision for any gaps (on S itself it takes up to eleven).
The last digits are then divided out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError

_NEWTON_STEPS = 12
_CONVERGED = 1e-12
_FEW = 16
"""Up to so many arms, one query is weighed faster by plain floats than by arrays."""


def inverse_gap_weights(scores: FloatArray, tau: float) -> FloatArray:
    """Choice probabilities over the last axis.

    Shapes: scores (..., K), result likewise; rows sum to 1. `tau` > 0 is in probabilities per unit of reward. An arm
    with score −inf is infeasible and gets probability 0; every row needs one finite score.
    """
    # Arms first and queries last: sums over few arms are then additions of whole rows, which take half the time.
    gaps = np.array(np.moveaxis(scores, -1, 0), dtype=np.float64, order="C")
    np.subtract(np.maximum.reduce(gaps, axis=0), gaps, out=gaps)
    gaps *= tau
    zeta, weights = np.ones(gaps.shape[1:]), np.empty_like(gaps)
    for _ in range(_NEWTON_STEPS):
        total = _reciprocals(gaps, zeta, weights)
        excess = total - 1.0
        if excess.max() < _CONVERGED:
            break
        excess *= total
        zeta += excess / np.add.reduce(np.multiply(weights, weights, out=weights), axis=0)
    else:
        total = _reciprocals(gaps, zeta, weights)
    weights /= total
    return np.moveaxis(weights, 0, -1)


def _reciprocals(gaps: FloatArray, zeta: FloatArray, out: FloatArray) -> FloatArray:
    """1 / (ζ + gap) into `out`; their sums over the arms."""
    np.add(gaps, zeta, out=out)
    np.reciprocal(out, out=out)
    total: FloatArray = np.add.reduce(out, axis=0)
    return total


def _weigh_one(scores: list[float], tau: float) -> list[float]:
    """`inverse_gap_weights` of a single query."""
    if len(scores) > _FEW:
        found: list[float] = inverse_gap_weights(np.array(scores), tau).tolist()
        return found
    best = max(scores)
    gaps = [tau * (best - score) for score in scores]
    zeta = 1.0
    for _ in range(_NEWTON_STEPS):
        weights = [1.0 / (zeta + gap) for gap in gaps]
        total = sum(weights)
        if total - 1.0 < _CONVERGED:
            break
        zeta += total * (total - 1.0) / sum([weight * weight for weight in weights])
    else:
        weights = [1.0 / (zeta + gap) for gap in gaps]
        total = sum(weights)
    return [weight / total for weight in weights]


def _configure(parameters: Mapping[str, float]) -> tuple[float, float]:
    tau = parameters["tau"]
    if tau <= 0.0:
        raise SpecError(f"igw:tau must be positive, got {tau:g}")
    return tau, 0.0


def _weigh(scores: FloatArray, _deviations: FloatArray, scale: float, _normals: Normals) -> FloatArray:
    return inverse_gap_weights(scores, scale)


IGW = ExplorationFamily(defaults={"tau": 10_000.0}, configure=_configure, weigh=_weigh, weigh_one=_weigh_one)
