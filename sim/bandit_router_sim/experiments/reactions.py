"""How soon after a change: until a new arm has its share, until rewards are back where they were.

Everything is counted in requests of the reported stretch, refused ones too, from the change on; None: not within what
is left of the stretch.
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.logs.full import BoolArray, FloatArray

SHARE_WINDOW = 50
SHARE_PART = 0.9
SETTLED_PART = 1 / 3
"""The eventual share of a new arm is that of the last third of the requests after it came."""

LEAST_SHARE = 0.05
"""An arm that ends with less has not been taken up, and has no share to reach."""

MEAN_WINDOW = 100
NEAR_REWARD = 0.01


def eventual_share(is_new: BoolArray) -> float:
    """Share of the new arm (requests after its arrival (n,): whether it was chosen) once things have settled."""
    return float(np.mean(is_new[-max(1, round(SETTLED_PART * len(is_new))) :]))


def requests_to_share(is_new: BoolArray) -> int | None:
    """Requests until the arm's share of the last SHARE_WINDOW is SHARE_PART of its eventual share."""
    eventual = eventual_share(is_new)
    if eventual < LEAST_SHARE:
        return None
    return _first(_moving_mean(is_new.astype(np.float64), SHARE_WINDOW) >= SHARE_PART * eventual, SHARE_WINDOW)


def requests_to_recover(rewards: FloatArray, *, level: float) -> int | None:
    """Requests until the mean of the last MEAN_WINDOW rewards (n,), all after the change, is NEAR_REWARD from `level`.

    A reward above the level counts as recovered, too.
    """
    return _first(_moving_mean(rewards, MEAN_WINDOW) >= level - NEAR_REWARD, MEAN_WINDOW)


def _moving_mean(values: FloatArray, window: int) -> FloatArray:
    """Means (n − window + 1,) of every full window."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[window:] - sums[:-window]) / window)


def _first(reached: BoolArray, window: int) -> int | None:
    return window + int(np.argmax(reached)) if reached.any() else None
