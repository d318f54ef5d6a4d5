"""`prior fit`: from files of battles and scores to a prior in the coordinates of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.preferences.battles import BattleTable, battle_table
from bandit_router.core.preferences.fitting import Battlefield, HeldOut, contexts_of, fit_arms, judged, split_by_prompt
from bandit_router.core.preferences.rows import BattleColumns, ScoreColumns
from bandit_router.core.preferences.scores import ScoreTable
from bandit_router.core.preferences.triplets import draw_triplets, fit_triplet_projection
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray
from bandit_router.service.contexts import EncoderHandle, default_projection

_BATCH = 256


class Method(Enum):
    """`bradley-terry`: in the encoder's default coordinates. `pilot`: in coordinates learned by triplets."""

    BRADLEY_TERRY = "bradley-terry"
    PILOT = "pilot"


class NothingToFit(ValueError):
    """The files hold nothing that a prior could be fitted on; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Those of the pool that the prior is for. `seed`: of the triplets that are drawn."""

    encoder_id: str
    dimension: int
    features: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FittedPrior:
    """A prior, and how well its battles are foretold on prompts that it was not fitted on."""

    prior: PoolPrior
    held_out: HeldOut | None


def fit_prior(
    battles: BattleColumns,
    scores: ScoreColumns,
    handle: EncoderHandle,
    coordinates: Coordinates,
    *,
    method: Method = Method.BRADLEY_TERRY,
    origin: Mapping[str, str] | None = None,
) -> FittedPrior:
    """Fit on battles, scores or both. `origin`: facts for the prior's provenance. Raises NothingToFit."""
    table, prompts = battle_table(battles.prompts, battles.models_a, battles.models_b, battles.winners)
    if not prompts and not scores.scores:
        raise NothingToFit("there are neither battles between two models nor scores")
    if method is Method.PILOT and not prompts:
        raise NothingToFit("the pilot method learns its projection from battles, and there are none")
    ground = _Ground(table, prompts, _encode(handle, prompts), default_projection(handle, coordinates.dimension))
    projection = ground.projection(table, method, coordinates)
    contexts = contexts_of(prompts, ground.embeddings, projection, coordinates.features) if prompts else None
    quality = ground.quality(method, coordinates)
    prior = PoolPrior(
        encoder_id=coordinates.encoder_id,
        dimension=coordinates.dimension,
        features=coordinates.features,
        projection=projection if method is Method.PILOT else None,
        arms=fit_arms(
            None if contexts is None else Battlefield(table, contexts),
            _score_table(scores, handle, projection, coordinates),
        ),
        provenance={**(origin or {}), "method": method.value, **_facts(len(table), scores, quality)},
    )
    return FittedPrior(prior, quality)


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """Battles with the embeddings of their prompts, and the encoder's default projection."""

    table: BattleTable
    prompts: tuple[str, ...]
    embeddings: FloatArray
    default: Projection

    def projection(self, battles: BattleTable, method: Method, coordinates: Coordinates) -> Projection:
        """The coordinates that the method uses, learned from these battles if they are learned at all."""
        if method is Method.BRADLEY_TERRY:
            return self.default
        random = np.random.Generator(np.random.PCG64(coordinates.seed))
        return fit_triplet_projection(draw_triplets(battles, self.embeddings, random), self.embeddings, self.default)

    def quality(self, method: Method, coordinates: Coordinates) -> HeldOut | None:
        """How well battles about prompts are foretold that neither the arms nor the projection were learned from."""
        parts = split_by_prompt(self.table)
        if parts is None:
            return None
        projection = self.projection(parts[0], method, coordinates)
        return judged(*parts, contexts_of(self.prompts, self.embeddings, projection, coordinates.features))


def _score_table(
    scores: ScoreColumns, handle: EncoderHandle, projection: Projection, coordinates: Coordinates
) -> ScoreTable | None:
    if not scores.scores:
        return None
    contexts = contexts_of(scores.prompts, _encode(handle, scores.prompts), projection, coordinates.features)
    return ScoreTable(tuple(scores.scores), contexts, np.array(list(scores.scores.values())).T)


def _encode(handle: EncoderHandle, texts: Sequence[str]) -> FloatArray:
    batches = [handle.encoder.encode(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    empty = np.zeros((0, handle.encoder.dimension))
    return np.concatenate([empty, *batches]).astype(np.float64)


def _facts(battles: int, scores: ScoreColumns, quality: HeldOut | None) -> dict[str, str]:
    facts = {"battles": str(battles), "scored rows": str(len(scores.prompts))}
    if quality is not None:
        facts["held-out accuracy"] = f"{quality.accuracy:.4f} (without prompts {quality.plain_accuracy:.4f})"
    return facts
