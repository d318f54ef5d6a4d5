"""Intervals of a paired difference between two policies that ran on the same queries in the same orders.

A run is one order (seed), and the same queries come back in other orders, so neither runs nor queries alone are
independent. The pigeonhole bootstrap (Owen, 2007) resamples both at once and gives each (order, query) the product of
the two counts; its variance is never too small by more than what the two-way layout leaves undetermined, and a little
large otherwise. With a single order only queries are resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.full import BoolArray, FloatArray

RESAMPLES = 1000
LEVEL = 0.95
_SEED = 20_071
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the interval excludes zero: `better`, `worse` or `even`."""
        return "better" if self.low > 0.0 else "worse" if self.high < 0.0 else "even"


def paired_interval(differences: FloatArray, present: BoolArray, *, resamples: int = RESAMPLES) -> Interval:
    """Of the mean of `differences` (orders, queries) over the cells `present`; others are not looked at."""
    random = np.random.Generator(np.random.PCG64(_SEED))
    values, weights = np.where(present, differences, 0.0), present.astype(np.float64)
    means = np.concatenate(
        [_resampled(values, weights, min(_BATCH, resamples - done), random) for done in range(0, resamples, _BATCH)]
    )
    low, high = np.quantile(means, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Interval(mean=float(values.sum() / weights.sum()), low=float(low), high=float(high))


def _resampled(values: FloatArray, weights: FloatArray, count: int, random: np.random.Generator) -> FloatArray:
    """At most `count` means of resampled orders and queries; resamples without any cell have none."""
    orders, queries = values.shape
    query_counts = random.multinomial(queries, np.full(queries, 1.0 / queries), size=count).T.astype(np.float64)
    order_counts = random.multinomial(orders, np.full(orders, 1.0 / orders), size=count).T
    totals = np.sum(order_counts * (values @ query_counts), axis=0)
    cells = np.sum(order_counts * (weights @ query_counts), axis=0)
    return np.asarray(totals[cells > 0.0] / cells[cells > 0.0])
