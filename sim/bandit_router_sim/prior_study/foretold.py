"""How well battles about unseen prompts are foretold, by each way of fitting, over several splits by prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router.adapters.encoding.factory import make_encoder
from bandit_router.core.preferences.battles import BattleTable, accuracy, battle_table, log_loss
from bandit_router.core.preferences.bradley_terry import BIAS_PRECISION, choose_ridge, fit_utilities
from bandit_router.core.preferences.fitting import contexts_of
from bandit_router.core.preferences.triplets import draw_triplets, fit_triplet_projection
from bandit_router.core.projection import Projection, identity_projection
from bandit_router.core.resources import DEFAULT_DIMENSION
from bandit_router_sim.logs.battles import Battles
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.replay.order import random_of

HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Battles with the embeddings (m, dim) of their prompts."""

    table: BattleTable
    prompts: tuple[str, ...]
    embeddings: FloatArray

    @property
    def default(self) -> Projection:
        """The pool's default coordinates."""
        return identity_projection(self.embeddings.shape[1], DEFAULT_DIMENSION)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Accuracy on decided battles and log loss in nats, per split."""

    accuracies: tuple[float, ...]
    losses: tuple[float, ...]


def ground_of(battles: Battles, *, encoder_id: str = "static") -> Ground:
    """The battles, encoded."""
    table, prompts = battle_table(battles.prompts, battles.models_a, battles.models_b, battles.winners)
    return Ground(table, prompts, make_encoder(encoder_id).encode(prompts).astype(np.float64))


Contexts = Callable[[Ground, BattleTable, np.random.Generator], FloatArray]


def without_prompts(ground: Ground, seen: BattleTable, random: np.random.Generator) -> FloatArray:
    """Nothing but an intercept: plain Bradley-Terry."""
    del seen, random
    return np.ones((len(ground.prompts), 1))


def default_contexts(ground: Ground, seen: BattleTable, random: np.random.Generator) -> FloatArray:
    """The product's contexts in the encoder's default coordinates."""
    del seen, random
    return contexts_of(ground.prompts, ground.embeddings, ground.default)


def learned_contexts(ground: Ground, seen: BattleTable, random: np.random.Generator) -> FloatArray:
    """The product's contexts in coordinates learned by triplets: dot product with an intercept."""
    return contexts_of(ground.prompts, ground.embeddings, _learned(ground, seen, random))


def learned_directions(ground: Ground, seen: BattleTable, random: np.random.Generator) -> FloatArray:
    """ψ̂ alone, as PILOT has it: unit vectors in learned coordinates, no intercept."""
    return _unit(_learned(ground, seen, random).apply(ground.embeddings).astype(np.float64))


def default_directions(ground: Ground, seen: BattleTable, random: np.random.Generator) -> FloatArray:
    """Unit vectors in the default coordinates, no intercept."""
    del seen, random
    return _unit(ground.default.apply(ground.embeddings).astype(np.float64))


VARIANTS: Mapping[str, Contexts] = {
    "Bradley-Terry without prompts": without_prompts,
    "Bradley-Terry, default coordinates": default_contexts,
    "triplets, dot product with intercept": learned_contexts,
    "triplets, unit vectors, no intercept": learned_directions,
    "default coordinates, unit vectors, no intercept": default_directions,
}


def foretell(ground: Ground, *, splits: int) -> dict[str, Forecast]:
    """Every variant on the same splits; ridges are chosen on the seen part."""
    readings: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    for seed in range(splits):
        seen, unseen = _split(ground.table, len(ground.prompts), seed)
        for name, make in VARIANTS.items():
            contexts = make(ground, seen, random_of(seed))
            readings[name].append(_judged(seen, unseen, contexts))
    return {name: Forecast(*zip(*pairs, strict=True)) for name, pairs in readings.items()}


def _judged(seen: BattleTable, unseen: BattleTable, contexts: FloatArray) -> tuple[float, float]:
    has_intercept = bool(np.all(contexts[:, 0] == 1.0))
    bias = BIAS_PRECISION if has_intercept else 1.0
    fitted = fit_utilities(seen, contexts, ridge=choose_ridge(seen, contexts, bias=bias), bias=bias)
    probability = fitted.probabilities(unseen, contexts)
    return accuracy(unseen.wins, probability), log_loss(unseen.wins, probability)


def _split(table: BattleTable, prompts: int, seed: int) -> tuple[BattleTable, BattleTable]:
    held_out = random_of(seed).random(prompts) < HELD_OUT_SHARE
    return table.rows(~held_out[table.prompt]), table.rows(held_out[table.prompt])


def _learned(ground: Ground, seen: BattleTable, random: np.random.Generator) -> Projection:
    return fit_triplet_projection(draw_triplets(seen, ground.embeddings, random), ground.embeddings, ground.default)


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
