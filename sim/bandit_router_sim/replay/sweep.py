"""Many replays: on all cores or on a cluster, going on where an earlier sweep stopped."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from bandit_router.adapters.encoding.factory import make_encoder
from bandit_router.service.contexts import EncoderHandle
from bandit_router_sim.kept.cache import Details, Finished, ResultCache
from bandit_router_sim.kept.keys import code_digest, digest_of, key_of
from bandit_router_sim.replay.cluster import spread
from bandit_router_sim.replay.engine import Replay
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.scenario import STATIONARY, Scenario
from bandit_router_sim.replay.setting import Material, Policy, Setting

ENTRIES = ("bandit_router_sim.replay.sweep",)
"""The modules that run a replay; what they import decides its result."""


def settings_of(
    policies: Sequence[Policy],
    budgets_usd: Sequence[float],
    *,
    seeds: int,
    learn_share: float,
    scenario: Scenario = STATIONARY,
) -> list[Setting]:
    """Every policy under every budget in every order."""
    return [
        Setting(policy=policy, budget_usd=budget_usd, seed=seed, learn_share=learn_share, scenario=scenario)
        for policy in policies
        for budget_usd in budgets_usd
        for seed in range(seeds)
    ]


def replay_one(material: Material, setting: Setting, *, prior: bytes | None = None) -> RunResult:
    """One replay, in this process. `prior`: a file of the pool's prior, imported before its first request."""
    return asyncio.run(Replay(material, setting, encoder_handle, prior=prior).run())


def sweep(
    material: Material,
    settings: Sequence[Setting],
    *,
    cache: ResultCache | None = None,
    jobs: int = -1,
    backend: str = "loky",
) -> Iterator[tuple[Setting, Finished]]:
    """Every setting with its result: first those that the cache holds, then the others as they are finished.

    `backend`: one of `cluster.BACKENDS`. Raises ScenarioError, ClusterMissing.
    """
    log_digest = digest_for_replay(material)
    missing: list[Setting] = []
    for setting in settings:
        kept = None if cache is None else cache.get(key_of_replay(setting, log_digest))
        if kept is None:
            missing.append(setting)
        else:
            yield setting, kept
    for position, finished in spread(partial(finish, material), missing, jobs=jobs, backend=backend):
        if cache is not None:
            cache.put(key_of_replay(missing[position], log_digest), finished)
        yield missing[position], finished


def finish(material: Material, setting: Setting) -> Finished:
    """One replay as it is kept: its summary, and an account of every reported request."""
    result = replay_one(material, setting)
    rewards = result.trace.rewards[result.trace.is_reported].astype(np.float32)
    return Finished(result.summary(), rewards, account_of(result))


def account_of(result: RunResult) -> Details:
    """Arrays (n,) over the reported requests, in order: counts and indices as int32, everything else as float32."""
    trace, reported = result.trace, result.trace.is_reported
    whole = {"row": trace.rows, "arm": trace.chosen, "tenant": trace.tenants, "phase": trace.phases}
    real = {
        "cost_usd": trace.costs_usd,
        "price_per_usd": trace.prices_per_usd,
        "propensity": trace.propensities,
        "expected_reward": trace.expected_rewards,
        "expected_cost_usd": trace.expected_costs_usd,
    }
    return {
        **{name: values[reported].astype(np.int32) for name, values in {**whole, "window": trace.windows}.items()},
        **{name: values[reported].astype(np.float32) for name, values in real.items()},
    }


def key_of_replay(setting: Setting, log_digest: str) -> str:
    """The key of a replay's result: the setting, the log and the code that runs."""
    return key_of({"setting": repr(setting), "log": log_digest, "code": code_digest(ENTRIES)})


def digest_for_replay(material: Material) -> str:
    """A digest of everything a replay reads of the material; traffic is told apart by its sources."""
    sources = json.dumps(material.log.sources).encode()
    return hashlib.sha256(digest_of(material).encode() + sources).hexdigest()


def encoder_handle(encoder_id: str) -> EncoderHandle:
    """Replayed embeddings come with the material; the static table's coordinates are ordered by variance."""
    return EncoderHandle(make_encoder(encoder_id), ordered=True)
