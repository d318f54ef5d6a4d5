"""The variance that DR's row values must be expected to have, from weights that might have been drawn.

Their own sample variance rests on the heavy rows that happened to be drawn. Where few are, it is too small more often
than too large, and intervals made of it fall short. But the propensities say of every row, heavy or light, what weights
it could have got: given the requests, w e has the second moment

    E[(w e)² | x] = Σ_a π(a|x)² / p(a|x) · v_a(x)

with v_a the mean squared error of q̂ at arm a, which all of the arm's rows tell alike, and which is taken to be the
same for all requests: fair for outcomes within [0, 1], not for costs, whose errors grow with the cost. Missing outcomes
multiply it by how much 1/ê inflates a second moment.
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.logs.decisions import FloatArray
from bandit_router_sim.ope.estimators import Rows

_SHARED_ROWS = 5.0
"""So many rows of the mean error of all arms stand beside those of each."""


def anticipated_variance(rows: Rows) -> float:
    """Variance of DR's row values: that of d over the requests, and the expected square of w e."""
    observed = rows.observed_weights > 0.0
    if not observed.any():
        return 0.0
    supported = rows.propensities > 0.0
    moments = np.divide(np.square(rows.target), rows.propensities, out=np.zeros_like(rows.target), where=supported)
    return float(rows.direct.var() + np.mean(moments @ (_errors(rows) * _inflations(rows))))


def _errors(rows: Rows) -> FloatArray:
    """v (K,): mean squared residual of each arm's observed rows."""
    observed = rows.observed_weights > 0.0
    arms, squares = rows.actions[observed], np.square(rows.residuals[observed])
    size = rows.target.shape[1]
    counts, sums = np.bincount(arms, minlength=size), np.bincount(arms, weights=squares, minlength=size)
    shared: FloatArray = (sums + _SHARED_ROWS * squares.mean()) / (counts + _SHARED_ROWS)
    return shared


def _inflations(rows: Rows) -> FloatArray:
    """E[m²] / E[m]² (K,) of the weights m that stand for missing outcomes: 1 where none is missing."""
    size, weights = rows.target.shape[1], rows.observed_weights
    counts = np.bincount(rows.actions, minlength=size)
    first = np.bincount(rows.actions, weights=weights, minlength=size)
    second = np.bincount(rows.actions, weights=np.square(weights), minlength=size)
    found = np.divide(second * counts, np.square(first), out=np.ones(size), where=first > 0.0)
    return np.asarray(found, dtype=np.float64)
