"""Many worlds, on one core or several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from joblib import Parallel, delayed

from bandit_router_sim.world.failure import DEFAULT_STEPS, WorldFailure
from bandit_router_sim.world.world import WorldResult, run_world

_SEED_BYTES = 4


def fresh_seed() -> int:
    """A seed that nobody has chosen. Print it, or what it finds cannot be repeated."""
    return int.from_bytes(os.urandom(_SEED_BYTES), "little")


def play(seed: int, steps: int = DEFAULT_STEPS) -> WorldResult | WorldFailure:
    """One world, its failure returned."""
    try:
        return run_world(seed, steps=steps)
    except WorldFailure as failure:
        return failure


def play_all(
    seeds: Sequence[int], *, steps: int = DEFAULT_STEPS, jobs: int = 1
) -> Iterator[WorldResult | WorldFailure]:
    """The worlds of these seeds in order, in `jobs` processes (-1: one per core)."""
    if jobs == 1:
        yield from (play(seed, steps) for seed in seeds)
        return
    yield from Parallel(n_jobs=jobs, return_as="generator")(delayed(play)(seed, steps) for seed in seeds)
