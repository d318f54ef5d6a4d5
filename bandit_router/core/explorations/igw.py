"""`igw`: inverse-gap weighting (SquareCB; Foster and Rakhlin, 2020, normalised as in Abe and Long, 1999).

    p_a = 1 / (ζ + τ (max g − g_a)),   Σ_a p_a = 1,   ζ ∈ [1, K]

The sum S falls in ζ and its inverse is concave, as that of resistors in parallel is in each of them. So Newton's method
on 1/S = 1 from ζ = 1, where S is at least 1, climbs to the root without ever passing it; where arms are about equal or
far apart 1/S is nearly a line, so six steps reach machine precision for any gaps (on S itself it takes up to eleven).
The last digits are then divided out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError

_NEWTON_STEPS = 12
_CONVERGED = 1e-12
NEAR = 1e-6
"""How far the sums of `NearWeights` may be from 1 before they are divided out."""

_FEW = 16
"""Up to so many arms, one query is weighed faster by plain floats than by arrays."""


def inverse_gap_weights(scores: FloatArray, tau: float) -> FloatArray:
    """Choice probabilities over the last axis.

    Shapes: scores (..., K), result likewise; rows sum to 1. `tau` > 0 is in probabilities per unit of reward. An arm
    with score −inf is infeasible and gets probability 0; every row needs one finite score.
    """
    gaps = _scaled_gaps(scores, tau)
    weights, _ = _weights_of(gaps, np.ones(gaps.shape[1]), precision=_CONVERGED)
    return _arms_last(weights, scores.shape)


class NearWeights:
    """`inverse_gap_weights` of the same queries over and over, as their scores move: for the search of a price.

    Every call starts from the ζ of the one before it, and stops where the sums are within NEAR of 1, before they are
    divided out: half the work.
    """

    def __init__(self, tau: float) -> None:
        """No call yet; `tau` as in `inverse_gap_weights`."""
        self._tau = tau
        self._zeta: FloatArray | None = None

    def __call__(self, scores: FloatArray, _deviations: FloatArray, _normals: Normals) -> FloatArray:
        """Choice probabilities (n, K) of scores (n, K), to NEAR."""
        gaps = _scaled_gaps(scores, self._tau)
        if self._zeta is None or len(self._zeta) != gaps.shape[1]:
            self._zeta = np.ones(gaps.shape[1])
        weights, self._zeta = _weights_of(gaps, self._zeta, precision=NEAR)
        return _arms_last(weights, scores.shape)


def _scaled_gaps(scores: FloatArray, tau: float) -> FloatArray:
    """τ (max g − g_a), (K, n): arms first and queries last, since sums over few arms are then sums of whole rows."""
    gaps = np.array(scores.reshape(-1, scores.shape[-1]).T, dtype=np.float64, order="C")
    np.subtract(np.maximum.reduce(gaps, axis=0), gaps, out=gaps)
    gaps *= tau
    return gaps


def _arms_last(weights: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    return weights.T.reshape(shape)


def _weights_of(gaps: FloatArray, zeta: FloatArray, *, precision: float) -> tuple[FloatArray, FloatArray]:
    """Probabilities (K, n) at these gaps, and the ζ (n,) of them, found from `zeta` on, each at least 1.

    From above the root a step leads below it, at the least to 1, and from there Newton climbs.
    """
    weights, every_arm = np.empty_like(gaps), np.ones(len(gaps))
    for _ in range(_NEWTON_STEPS):
        total = _reciprocals(gaps, zeta, weights, every_arm)
        excess = total - 1.0
        if np.abs(excess).max() < precision:
            break
        excess *= total
        excess /= every_arm.dot(np.multiply(weights, weights, out=weights))
        zeta = np.maximum(zeta + excess, 1.0)
    else:
        total = _reciprocals(gaps, zeta, weights, every_arm)
    weights /= total
    return weights, zeta


def _reciprocals(gaps: FloatArray, zeta: FloatArray, out: FloatArray, every_arm: FloatArray) -> FloatArray:
    """1 / (ζ + gap) into `out`; their sums over the arms."""
    np.add(gaps, zeta, out=out)
    np.reciprocal(out, out=out)
    total: FloatArray = every_arm.dot(out)
    return total


def _weigh_one(scores: Sequence[float], tau: float) -> list[float]:
    """`inverse_gap_weights` of a single query."""
    if len(scores) > _FEW:
        found: list[float] = inverse_gap_weights(np.array(scores), tau).tolist()
        return found
    best = max(scores)
    gaps = [tau * (best - score) for score in scores]
    zeta = 1.0
    for _ in range(_NEWTON_STEPS):
        total = square = 0.0
        for gap in gaps:
            weight = 1.0 / (zeta + gap)
            total += weight
            square += weight * weight
        if total - 1.0 < _CONVERGED:
            break
        zeta += total * (total - 1.0) / square
    return [1.0 / (total * (zeta + gap)) for gap in gaps]


def _configure(parameters: Mapping[str, float]) -> tuple[float, float]:
    tau = parameters["tau"]
    if tau <= 0.0:
        raise SpecError(f"igw:tau must be positive, got {tau:g}")
    return tau, 0.0


def _weigh(scores: FloatArray, _deviations: FloatArray, scale: float, _normals: Normals) -> FloatArray:
    return inverse_gap_weights(scores, scale)


IGW = ExplorationFamily(
    defaults={"tau": 10_000.0}, configure=_configure, weigh=_weigh, weigh_one=_weigh_one, near=NearWeights
)
