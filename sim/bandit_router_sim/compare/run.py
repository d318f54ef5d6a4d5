"""One task, done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router_sim.compare.contexts import contexts_of, whitened
from bandit_router_sim.compare.outcome import Outcome
from bandit_router_sim.compare.replayed import outcome_of_replay
from bandit_router_sim.compare.tasks import POLICY, REFERENCE, Task
from bandit_router_sim.kept.cache import Details, Finished
from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.peers.registry import PEERS, Features
from bandit_router_sim.peers.runner import run_peer
from bandit_router_sim.references.registry import REFERENCES
from bandit_router_sim.replay.setting import Material, Setting
from bandit_router_sim.replay.sweep import replay_one

DETAILED_SEED = 0
"""The order whose runs keep an account of every request, for the plots over time."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A log under comparison, its digest, and contexts (n, d) made beforehand for peers that read other features."""

    material: Material
    digest: str
    sentence_contexts: FloatArray | None = None


def run_task(subject: Subject, task: Task) -> Finished:
    """The result of the task on that log."""
    outcome = _outcome(subject, task)
    details = {"costs_usd": outcome.costs_usd, **outcome.details} if task.seed == DETAILED_SEED else {}
    return Finished({"kind": task.kind, **outcome.summary()}, outcome.rewards.astype(np.float32), _compact(details))


def _compact(details: Mapping[str, FloatArray | IndexArray]) -> Details:
    """Arms as int32, everything else as float32."""
    return {
        name: values.astype(np.int32) if values.dtype.kind == "i" else values.astype(np.float32)
        for name, values in details.items()
    }


def _outcome(subject: Subject, task: Task) -> Outcome:
    if task.kind == POLICY:
        assert task.policy is not None
        setting = Setting(task.policy, task.budget_usd, task.seed, task.learn_share)
        return outcome_of_replay(replay_one(subject.material, setting), arms=len(subject.material.log.arm_ids))
    if task.kind == REFERENCE:
        return REFERENCES[task.name](
            subject.material, budget_usd=task.budget_usd, seed=task.seed, learn_share=task.learn_share
        )
    kind = PEERS[task.name]
    return run_peer(
        subject.material,
        kind.make,
        name=task.name,
        budget_usd=task.budget_usd,
        seed=task.seed,
        learn_share=task.learn_share,
        contexts=_contexts(subject, kind.features),
    )


def _contexts(subject: Subject, features: Features) -> FloatArray | None:
    """Contexts (n, d) of that kind; None: the product's."""
    if features is Features.SENTENCE:
        assert subject.sentence_contexts is not None
        return subject.sentence_contexts
    return whitened(contexts_of(subject.material)) if features is Features.WHITENED else None
