"""The runs of the experiments: who plays what, resumably."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.compare.contexts import contexts_of, whitened
from bandit_router_sim.compare.sentences import sentence_contexts, version_of
from bandit_router_sim.compare.tasks import budgets_between
from bandit_router_sim.experiments.peer import PeerReplay
from bandit_router_sim.experiments.warm import LIKE, POLICY, WARM, play_warm
from bandit_router_sim.kept.cache import Finished, ResultCache
from bandit_router_sim.kept.keys import code_digest, key_of
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.registry import PEERS, Features
from bandit_router_sim.replay.cluster import spread
from bandit_router_sim.replay.named import NAMED, newcomer
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.setting import POLICIES, Material, Policy, Setting
from bandit_router_sim.replay.sweep import account_of, digest_for_replay, replay_one

LEARN_SHARE = 0.5
BUDGETS = 5
"""Budgets are the inner ones of so many between the cheapest and the dearest arm."""

WITHOUT_NEWCOMER = ("stationary", "price_cut", "quality_drop")
WITH_NEWCOMER = ("arm_added", "cheap_arm_added")
EXPERIMENTS = WITHOUT_NEWCOMER + WITH_NEWCOMER
"""By the scenario's name. The arm that joins in the last two is in none of the others."""

PLAYERS = ("default", WARM, "quantile_holds", "paretobandit", LIKE)
ENTRIES = (
    "bandit_router_sim.experiments.peer",
    "bandit_router_sim.experiments.warm",
    "bandit_router_sim.replay.sweep",
    "bandit_router_sim.peers.registry",
    "bandit_router_sim.compare.contexts",
)
"""The modules that run a task; what they import decides its result."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A log with all of its arms, and contexts (n, d) as every peer reads them that plays or lends its start."""

    material: Material
    contexts: Mapping[str, FloatArray]

    def of(self, experiment: str) -> Material:
        """The material of an experiment."""
        material = self.material
        if experiment in WITH_NEWCOMER:
            return material
        late = newcomer(material.log)
        log = material.log.with_arms([arm_id for arm_id in material.log.arm_ids if arm_id != late])
        return replace(material, log=log)


@dataclass(frozen=True, slots=True)
class Task:
    """One run: an experiment, who plays it, and the setting, which says everything else."""

    experiment: str
    player: str
    setting: Setting


def ground_of(material: Material, *, players: Sequence[str], kept_in: Path | None = None) -> Ground:
    """The log with the contexts that these players need. `kept_in`: a directory for those that take long."""
    peers = [peer for peer in dict.fromkeys(map(starts_as, players)) if peer in PEERS]
    return Ground(material, {peer: _contexts(material, PEERS[peer].features, kept_in) for peer in peers})


def inner_budgets(material: Material) -> list[float]:
    """Three budgets per request, inside the range of the arms' mean costs."""
    return budgets_between(material.log, BUDGETS)[1:-1]


def tasks_of(ground: Ground, budgets_usd: Sequence[float], *, players: Sequence[str], seeds: int) -> list[Task]:
    """Every experiment, budget and player; whole orders one after another."""
    scenarios = {experiment: NAMED[experiment](ground.of(experiment).log) for experiment in EXPERIMENTS}
    return [
        Task(experiment, player, Setting(policy_of(player), budget_usd, seed, LEARN_SHARE, scenario))
        for seed in range(seeds)
        for experiment, scenario in scenarios.items()
        for budget_usd in budgets_usd
        for player in players
    ]


def run_all(ground: Ground, tasks: Sequence[Task], cache: ResultCache, *, jobs: int) -> Iterator[tuple[Task, Finished]]:
    """Every task with its result, those in the cache first."""
    digests = {experiment: digest_for_replay(ground.of(experiment)) for experiment in EXPERIMENTS}
    missing = []
    for task in tasks:
        kept = cache.get(_key(task, digests))
        if kept is None:
            missing.append(task)
        else:
            yield task, kept
    for position, finished in spread(partial(run_task, ground), missing, jobs=jobs):
        cache.put(_key(missing[position], digests), finished)
        yield missing[position], finished


def run_task(ground: Ground, task: Task) -> Finished:
    """One run: its summary with the share by which unstopped spend passes the budget, and an account per request."""
    result = wanted = _play(ground, task)
    if result.refusals and task.player in PEERS:
        wanted = _play_peer(ground, task, hard=False)
    row: dict[str, Any] = {**result.summary(), "overspend": max(0.0, wanted.summary()["utilisation"] - 1.0)}
    rewards = result.trace.rewards[result.trace.is_reported]
    return Finished(row, rewards.astype(np.float32), account_of(result))


def rewards_by_query(finished: Sequence[Finished], queries: int, *, phase: int | None = None) -> FloatArray:
    """Rewards (orders, queries) of runs; NaN where a query was not asked in the reported stretch, or in that phase."""
    grid = np.full((len(finished), queries), np.nan)
    for index, run in enumerate(finished):
        asked = slice(None) if phase is None else run.details["phase"] == phase
        grid[index, run.details["row"][asked]] = run.rewards[asked]
    return grid


def policy_of(player: str) -> Policy:
    """The product's settings that a player has; of a peer nothing but its name."""
    if player == WARM:
        return POLICY
    return POLICIES[player] if player in POLICIES else Policy(name=player)


def starts_as(player: str) -> str:
    """The peer whose features and priors a player starts with; the player itself if there is none."""
    return LIKE if player == WARM else player


def _play(ground: Ground, task: Task) -> RunResult:
    if task.player in PEERS:
        return _play_peer(ground, task, hard=True)
    material = ground.of(task.experiment)
    if task.player == WARM:
        return play_warm(material, task.setting, ground.contexts[LIKE])
    return replay_one(material, task.setting)


def _play_peer(ground: Ground, task: Task, *, hard: bool) -> RunResult:
    is_warm = PEERS[task.player].features is Features.SENTENCE
    contexts = ground.contexts[task.player]
    return PeerReplay(ground.of(task.experiment), task.setting, contexts, warm=is_warm, hard=hard).run()


def _contexts(material: Material, features: Features, kept_in: Path | None) -> FloatArray:
    if features is Features.SENTENCE:
        return sentence_contexts(material.log.prompts, kept_in=kept_in)
    return whitened(contexts_of(material))


def _key(task: Task, digests: Mapping[str, str]) -> str:
    kind = PEERS.get(starts_as(task.player))
    version = "" if kind is None else version_of(kind)
    return key_of(
        {
            "player": task.player,
            "version": version,
            "setting": repr(task.setting),
            "log": digests[task.experiment],
            "code": code_digest(ENTRIES, alone=(__name__,)),
        }
    )
