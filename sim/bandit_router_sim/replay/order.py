"""In which order a log is replayed, and where its learning stretch ends: the same for every policy under comparison."""

from __future__ import annotations

import math

import numpy as np

from bandit_router_sim.logs.full import IndexArray


def random_of(seed: int) -> np.random.Generator:
    """The generator of a replay; its first draw is the order."""
    return np.random.Generator(np.random.PCG64(seed))


def order_of(count: int, random: np.random.Generator) -> IndexArray:
    """Rows (count,) in the order replayed."""
    order: IndexArray = random.permutation(count)
    return order


def learning_requests(count: int, learn_share: float) -> int:
    """Length of the learning stretch; what follows it is reported."""
    return math.floor(count * learn_share)


def stretches(count: int, *, seed: int, learn_share: float) -> tuple[IndexArray, IndexArray]:
    """Rows of the learning stretch and rows of the reported stretch, each in order."""
    order = order_of(count, random_of(seed))
    learning = learning_requests(count, learn_share)
    return order[:learning], order[learning:]
