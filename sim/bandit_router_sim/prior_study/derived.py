"""Battles derived from a slice of a scored log that no learner sees, and the priors that they give.

The public battles at hand are about models of which no scored log is at hand. So a slice of each scored log is set
aside; on its prompts pairs of arms fight, and the better score wins (equal ones tie): what a judge who is never wrong
would have said. The rest of the log is what is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.preferences.battles import BattleTable
from bandit_router.core.preferences.fitting import Battlefield, fit_arms
from bandit_router.core.preferences.scores import ScoreTable
from bandit_router.core.prior import ArmPrior
from bandit_router.core.resources import DEFAULT_DIMENSION
from bandit_router_sim.compare.contexts import contexts_of
from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.replay.order import random_of
from bandit_router_sim.replay.setting import Material

SLICE_SHARE = 0.25
BATTLES_PER_PROMPT = 40
"""As many as the public battles have: 38,544 about 952 prompts (docs/preference-prior.md)."""

LABELS = 100
_SPLIT_SEED = 2_147_483_647
"""Not a seed of any replayed order."""


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """A log in two: the slice that priors are fitted on, and the part that is replayed."""

    aside: Material
    replayed: Material


def halves_of(material: Material) -> Halves:
    """The same halves whatever is replayed."""
    order = random_of(_SPLIT_SEED).permutation(len(material.log))
    cut = int(len(order) * SLICE_SHARE)
    return Halves(_rows(material, order[:cut]), _rows(material, order[cut:]))


def derived_battles(scores: FloatArray, arm_ids: tuple[str, ...], random: np.random.Generator) -> BattleTable:
    """BATTLES_PER_PROMPT battles between random pairs about every row of scores (m, K)."""
    prompt = np.repeat(np.arange(len(scores)), BATTLES_PER_PROMPT)
    first = random.integers(len(arm_ids), size=len(prompt))
    second = (first + random.integers(1, len(arm_ids), size=len(prompt))) % len(arm_ids)
    wins = 0.5 * (1.0 + np.sign(scores[prompt, first] - scores[prompt, second]))
    return BattleTable(arm_ids, prompt, first, second, wins)


Priors = Mapping[str, ArmPrior]


def from_battles(aside: Material) -> Priors:
    """Battles alone: level and scale are guesses."""
    return fit_arms(_battlefield(aside), None)


def from_battles_and_labels(aside: Material) -> Priors:
    """Battles, and LABELS scored answers of random arms as anchors."""
    return fit_arms(_battlefield(aside), _labels(aside))


def from_labels(aside: Material) -> Priors:
    """The same LABELS scored answers alone: what the battles add is the difference."""
    return fit_arms(None, _labels(aside))


def from_scores(aside: Material) -> Priors:
    """Every score of the slice: ridge on full rows."""
    return fit_arms(None, ScoreTable(aside.log.arm_ids, contexts_of(aside), aside.log.scores))


def adversarial(aside: Material) -> Priors:
    """The prior from all scores with the best arm's and the worst arm's exchanged, and so on inwards."""
    priors = from_scores(aside)
    ranked = sorted(priors, key=lambda arm_id: float(priors[arm_id].mean[0]))
    return {arm_id: priors[other] for arm_id, other in zip(ranked, reversed(ranked), strict=True)}


PRIORS: Mapping[str, Callable[[Material], Priors] | None] = {
    "none": None,
    "battles": from_battles,
    "battles + labels": from_battles_and_labels,
    "labels": from_labels,
    "scores": from_scores,
    "adversarial": adversarial,
}
"""How the prior of a replayed pool is made; the first has none."""


def pool_prior(arms: Priors, replayed: Material) -> PoolPrior:
    """The prior of a replayed pool, whose embeddings come as vectors."""
    dimension = replayed.embeddings.shape[1]
    return PoolPrior(encoder_id=f"vector:{dimension}", dimension=min(DEFAULT_DIMENSION, dimension), arms=arms)


def _battlefield(aside: Material) -> Battlefield:
    table = derived_battles(aside.log.scores, aside.log.arm_ids, random_of(0))
    return Battlefield(table, contexts_of(aside))


def _labels(aside: Material) -> ScoreTable:
    random = random_of(1)
    rows = random.permutation(len(aside.log))[:LABELS]
    columns = random.integers(len(aside.log.arm_ids), size=len(rows))
    rewards = np.full((len(rows), len(aside.log.arm_ids)), np.nan)
    rewards[np.arange(len(rows)), columns] = aside.log.scores[rows, columns]
    return ScoreTable(aside.log.arm_ids, contexts_of(aside)[rows], rewards)


def _rows(material: Material, rows: IndexArray) -> Material:
    return replace(material, log=material.log.rows(rows), embeddings=material.embeddings[rows])
