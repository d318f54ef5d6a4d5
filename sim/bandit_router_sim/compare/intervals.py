"""Intervals of a paired difference between two policies that ran on the same queries in the same orders.

A run is one order (seed), and the same queries come back in other orders, so neither runs nor queries alone are
independent: both are resampled at once (see `pigeonhole`). The variance is then never too small by more than what the
two-way layout leaves undetermined, and a little large otherwise. With a single order only queries are resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router_sim.logs.full import BoolArray, FloatArray
from bandit_router_sim.pigeonhole import RESAMPLES, central, replicate_means

_SEED = 20_071


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
    means = replicate_means(differences[None], present, seed=_SEED, resamples=resamples)[:, 0]
    low, high = central(means)
    return Interval(mean=float(differences[present].mean()), low=low, high=high)
