"""Runs a peer over a log under a hard budget that it cannot break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bandit_router.core.money import NUSD_PER_USD
from bandit_router_sim.compare.contexts import contexts_of
from bandit_router_sim.compare.outcome import Outcome, Run, outcome_of_choices
from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.peers.protocol import Offer, Peer, Request
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import Material


@dataclass(frozen=True, slots=True, eq=False)
class PeerRun:
    """Columns chosen over the whole order, REFUSED where the money of the stretch was gone."""

    rows: IndexArray
    learning: int
    chosen: IndexArray


def run_peer(
    material: Material,
    make: Callable[[Offer], Peer],
    *,
    name: str,
    budget_usd: float,
    seed: int,
    learn_share: float,
    contexts: FloatArray | None = None,
) -> Outcome:
    """The peer's outcome on the reported stretch, after learning online on the learning stretch.

    A choice whose bill does not fit the money left in its stretch is replaced by a refusal. If that happened, a fresh
    peer runs once more with nobody stopping it: its spend on the reported stretch is the outcome's `wanted_usd`.
    `contexts` (n, d): other features than the product's.
    """
    features = contexts_of(material) if contexts is None else contexts
    offer = _offer(material, features, budget_usd=budget_usd, seed=seed, learn_share=learn_share)
    run = play(material, make(offer), offer, features, learn_share=learn_share)
    outcome = _outcome(material, run, Run(material.log.name, name, budget_usd, seed))
    if not (run.chosen == REFUSED).any():
        return outcome
    free = play(material, make(offer), offer, features, learn_share=learn_share, hard=False)
    return replace(outcome, wanted_usd=_outcome(material, free, outcome.run).wanted_usd)


def play(
    material: Material, peer: Peer, offer: Offer, contexts: FloatArray, *, learn_share: float, hard: bool = True
) -> PeerRun:
    """Let the peer choose for every request in order. Without `hard` no choice is refused."""
    learning_rows, reported_rows = stretches(len(material.log), seed=offer.seed, learn_share=learn_share)
    rows = np.concatenate([learning_rows, reported_rows])
    bills_nusd = np.ceil(material.log.costs_usd * NUSD_PER_USD).astype(np.int64)
    chosen = np.full(len(rows), REFUSED, dtype=np.int64)
    left_nusd = 0
    for number, row in enumerate(rows.tolist()):
        if number in (0, len(learning_rows)):
            requests = (len(learning_rows) if number == 0 else 0) or len(reported_rows)
            left_nusd = round(offer.budget_usd * requests * NUSD_PER_USD)
            peer.begin(requests, offer.budget_usd * requests)
        request = Request(number, row, contexts[row], material.log.prompts[row])
        column = peer.choose(request)
        bill_nusd = int(bills_nusd[row, column])
        if hard and bill_nusd > left_nusd:
            continue
        left_nusd -= bill_nusd
        chosen[number] = column
        peer.learn(
            request,
            column,
            reward=float(material.log.scores[row, column]),
            cost_usd=float(material.log.costs_usd[row, column]),
        )
    return PeerRun(rows, len(learning_rows), chosen)


def _offer(material: Material, contexts: FloatArray, *, budget_usd: float, seed: int, learn_share: float) -> Offer:
    learning_rows, _ = stretches(len(material.log), seed=seed, learn_share=learn_share)
    known = material.log.costs_usd[learning_rows] if len(learning_rows) else material.log.costs_usd
    return Offer(
        arm_ids=material.log.arm_ids,
        typical_cost_usd=known.mean(axis=0),
        dimension=contexts.shape[1],
        budget_usd=budget_usd,
        seed=seed,
    )


def _outcome(material: Material, run: PeerRun, named: Run) -> Outcome:
    return outcome_of_choices(named, material, run.rows[run.learning :], run.chosen[run.learning :])
