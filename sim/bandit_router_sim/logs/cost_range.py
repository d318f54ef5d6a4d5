"""Between which budgets a log is of interest."""

from __future__ import annotations

import numpy as np

from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.full import FullLog


def cost_range_usd(log: FullLog) -> tuple[float, float]:
    """Mean cost per request of the cheapest and of the dearest arm that is not free. Raises UnusableLog if all are."""
    means = log.costs_usd.mean(axis=0)
    paid = means[means > 0.0]
    if not len(paid):
        raise UnusableLog(log.name, "no arm costs anything, so there are no budgets to choose between")
    return float(np.min(paid)), float(np.max(paid))
