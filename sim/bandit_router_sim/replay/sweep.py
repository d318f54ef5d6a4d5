"""Many replays at once, on all cores or on a cluster that joblib knows how to use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from joblib import Parallel, delayed, parallel_config

from bandit_router.adapters.encoding.factory import make_encoder
from bandit_router.service.contexts import EncoderHandle
from bandit_router_sim.replay.engine import Replay
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.setting import Material, Policy, Setting


def settings_of(
    policies: Sequence[Policy], budgets_usd: Sequence[float], *, seeds: int, learn_share: float
) -> list[Setting]:
    """Every policy under every budget in every order."""
    return [
        Setting(policy=policy, budget_usd=budget_usd, seed=seed, learn_share=learn_share)
        for policy in policies
        for budget_usd in budgets_usd
        for seed in range(seeds)
    ]


def replay_one(material: Material, setting: Setting) -> RunResult:
    """One replay, in this process."""
    return asyncio.run(Replay(material, setting, encoder_handle).run())


def sweep(
    material: Material, settings: Sequence[Setting], *, jobs: int = -1, backend: str = "loky"
) -> Iterator[RunResult]:
    """The results in the order of the settings, as they come. `backend`: of joblib, such as loky, ray or dask."""
    with parallel_config(backend=backend, n_jobs=jobs, inner_max_num_threads=1 if backend == "loky" else None):
        runner = Parallel(return_as="generator")
        yield from runner(delayed(replay_one)(material, setting) for setting in settings)


def encoder_handle(encoder_id: str) -> EncoderHandle:
    """Replayed embeddings come with the material; the static table's coordinates are ordered by variance."""
    return EncoderHandle(make_encoder(encoder_id), ordered=True)
