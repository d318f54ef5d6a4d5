"""A whole comparison: every policy, peer and reference on the same logs, orders and budgets, resumably."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config

from bandit_router_sim.compare.intervals import Interval, paired_interval
from bandit_router_sim.compare.outcome import reported_rows
from bandit_router_sim.compare.run import Subject, run_task
from bandit_router_sim.compare.sentences import sentence_contexts, version_of
from bandit_router_sim.compare.tasks import PEER, POLICY, REFERENCE, Task, budgets_between, tasks_of
from bandit_router_sim.kept.cache import Finished, ResultCache
from bandit_router_sim.kept.keys import digest_of
from bandit_router_sim.logs.full import FloatArray, FullLog
from bandit_router_sim.peers.registry import PEERS, Features
from bandit_router_sim.replay.order import random_of
from bandit_router_sim.replay.setting import Material, Policy

BASELINE = "default"
_SUBSET_SEED = 0

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared. Names are those of `PEERS` and `REFERENCES`; `budgets`: how many per log.

    `max_rows`: at most so many queries of a log, drawn once. `jobs`: processes.
    """

    policies: Sequence[Policy]
    peers: Sequence[str]
    references: Sequence[str]
    budgets: int = 5
    seeds: int = 20
    learn_share: float = 0.5
    max_rows: int | None = None
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean reward of a policy less that of the baseline. `budget_usd` None: mean over all budgets."""

    log: str
    policy: str
    budget_usd: float | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """The long table, one row per run; differences against the product's default; peers left out, and why.

    `arms`: per log the arms in the order of `arm_shares`, with their mean cost and reward. `detailed`: the runs of
    which an account of every request was kept, with the key of their results in the directory's cache.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    arms: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    detailed: list[dict[str, Any]] = field(default_factory=list)


def compare(
    materials: Sequence[Material], plan: Plan, *, out_dir: Path, on_progress: OnProgress | None = None
) -> Comparison:
    """Run what `out_dir` does not hold yet, and put everything together.

    The baseline of the differences is the policy called `default`; without it there are none. `on_progress` gets
    (runs done, runs in all).
    """
    comparison = Comparison()
    cache = ResultCache(out_dir)
    prepared = [_prepare(material, plan, out_dir, comparison.left_out) for material in materials]
    total, done = sum(len(tasks) for _, tasks in prepared), 0
    for subject, tasks in prepared:
        finished: dict[Task, Finished] = {}
        for task, result in _run_all(subject, tasks, cache, jobs=plan.jobs):
            finished[task] = result
            done += 1
            if on_progress is not None:
                on_progress(done, total)
        comparison.rows.extend(finished[task].row for task in tasks)
        comparison.differences.extend(_differences(subject, finished))
        comparison.arms[subject.material.log.name] = _arms(subject.material.log)
        comparison.detailed.extend(_detailed(subject, task) for task in tasks if finished[task].details)
    return comparison


def _arms(log: FullLog) -> list[dict[str, Any]]:
    """Every arm with its mean cost and reward over the whole log."""
    means = zip(log.arm_ids, log.costs_usd.mean(axis=0).tolist(), log.scores.mean(axis=0).tolist(), strict=True)
    return [{"arm_id": arm_id, "cost_usd_mean": cost, "reward_mean": reward} for arm_id, cost, reward in means]


def _detailed(subject: Subject, task: Task) -> dict[str, Any]:
    """Where the account of a run is kept."""
    key = task.key(subject.digest)
    return {"log": subject.material.log.name, "policy": task.name, "budget_usd": task.budget_usd, "key": key}


def _prepare(material: Material, plan: Plan, out_dir: Path, left_out: list[str]) -> tuple[Subject, list[Task]]:
    material = _subset(material, plan.max_rows)
    reasons = {name: PEERS[name].why_not(material.log.arm_ids) for name in plan.peers}
    left_out.extend(f"{material.log.name}: {reason}" for reason in reasons.values() if reason)
    peers = [name for name, reason in reasons.items() if not reason]
    runners = [
        *((POLICY, policy.name, policy, "") for policy in plan.policies),
        *((PEER, name, None, version_of(PEERS[name])) for name in peers),
        *((REFERENCE, name, None, "") for name in plan.references),
    ]
    wants_sentences = any(PEERS[name].features is Features.SENTENCE for name in peers)
    contexts = sentence_contexts(material.log.prompts, kept_in=out_dir / "features") if wants_sentences else None
    budgets_usd = budgets_between(material.log, plan.budgets)
    subject = Subject(material, digest_of(material), contexts)
    return subject, tasks_of(runners, budgets_usd, seeds=plan.seeds, learn_share=plan.learn_share)


def _subset(material: Material, max_rows: int | None) -> Material:
    if max_rows is None or len(material.log) <= max_rows:
        return material
    kept = np.sort(random_of(_SUBSET_SEED).permutation(len(material.log))[:max_rows])
    return Material(material.log.rows(kept), material.embeddings[kept], material.prices)


def _run_all(
    subject: Subject, tasks: Sequence[Task], cache: ResultCache, *, jobs: int
) -> Iterator[tuple[Task, Finished]]:
    """Every task with its result, those from the cache first."""
    missing: list[Task] = []
    for task in tasks:
        kept = cache.get(task.key(subject.digest))
        if kept is None:
            missing.append(task)
        else:
            yield task, kept
    with parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1 if jobs != 1 else None):
        results = Parallel(return_as="generator_unordered")(
            delayed(_indexed)(subject, index, task) for index, task in enumerate(missing)
        )
        for index, result in results:
            cache.put(missing[index].key(subject.digest), result)
            yield missing[index], result


def _indexed(subject: Subject, index: int, task: Task) -> tuple[int, Finished]:
    return index, run_task(subject, task)


def _differences(subject: Subject, finished: Mapping[Task, Finished]) -> list[Difference]:
    """Of every policy against the baseline, at every budget and over all of them."""
    members: dict[tuple[str, float], list[Task]] = defaultdict(list)
    for task in finished:
        members[task.name, task.budget_usd].append(task)
    grids = {place: _grid(subject, tasks, finished) for place, tasks in members.items()}
    names = list(dict.fromkeys(name for name, _ in grids))
    budgets_usd = sorted({budget_usd for _, budget_usd in grids})
    if BASELINE not in names:
        return []
    found = []
    for name in [name for name in names if name != BASELINE]:
        apart = {budget_usd: grids[name, budget_usd] - grids[BASELINE, budget_usd] for budget_usd in budgets_usd}
        overall: FloatArray = np.mean(list(apart.values()), axis=0)
        for place, grid in [*apart.items(), (None, overall)]:
            interval = paired_interval(grid, np.isfinite(grid))
            found.append(Difference(subject.material.log.name, name, place, interval))
    return found


def _grid(subject: Subject, members: Sequence[Task], finished: Mapping[Task, Finished]) -> FloatArray:
    """Rewards (orders, queries); NaN where a query was in the learning stretch of that order."""
    grid = np.full((len(members), len(subject.material.log)), np.nan)
    for index, task in enumerate(sorted(members, key=lambda member: member.seed)):
        rows = reported_rows(subject.material, seed=task.seed, learn_share=task.learn_share)
        grid[index, rows] = finished[task].rewards
    return grid
