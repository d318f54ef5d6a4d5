"""Replicates of several means over the same orders and queries, resampled together.

Each replicate draws orders and queries with replacement and gives a cell the product of the two counts (pigeonhole
bootstrap; Owen, 2007), the same for every mean: differences and readings between them are paired.
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.logs.full import BoolArray, FloatArray

RESAMPLES = 1000
LEVEL = 0.95
_BATCH = 100


def replicate_means(stack: FloatArray, present: BoolArray, *, seed: int = 0, resamples: int = RESAMPLES) -> FloatArray:
    """Replicates (R, G) of the G means of `stack` (G, orders, queries) over the cells `present` (orders, queries).

    R is `resamples`, less those replicates that drew no present cell.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    values, weights = np.where(present, stack, 0.0), present.astype(np.float64)
    sizes = [min(_BATCH, resamples - done) for done in range(0, resamples, _BATCH)]
    return np.concatenate([_batch(values, weights, size, random) for size in sizes])


def central(replicates: FloatArray) -> tuple[float, float]:
    """Ends of the central 95 % of the replicates (R,)."""
    low, high = np.quantile(replicates, [0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL]).tolist()
    return low, high


def _batch(values: FloatArray, weights: FloatArray, size: int, random: np.random.Generator) -> FloatArray:
    orders, queries = weights.shape
    query_counts = random.multinomial(queries, np.full(queries, 1.0 / queries), size=size).T.astype(np.float64)
    order_counts = random.multinomial(orders, np.full(orders, 1.0 / orders), size=size).T
    cells = np.sum(order_counts * (weights @ query_counts), axis=0)
    totals = np.sum(order_counts * (values @ query_counts), axis=1)
    drawn = cells > 0.0
    means: FloatArray = (totals[:, drawn] / cells[drawn]).T
    return means
