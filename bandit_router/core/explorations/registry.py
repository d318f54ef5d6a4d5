"""The exploration layers that a pool can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit_router.core.explorations import shares
from bandit_router.core.explorations.epsilon_floor import EPSILON_FLOOR
from bandit_router.core.explorations.igw import IGW
from bandit_router.core.explorations.protocol import ExplorationFamily, NearLayer, Normals
from bandit_router.core.explorations.softmax import SOFTMAX
from bandit_router.core.explorations.ts_empirical import TS_EMPIRICAL
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import parse_spec

EXPLORATIONS: Mapping[str, ExplorationFamily] = {
    "igw": IGW,
    "epsilon_floor": EPSILON_FLOOR,
    "softmax": SOFTMAX,
    "ts_empirical": TS_EMPIRICAL,
}
"""Exploration layers by name."""

_LAYERS = {**EXPLORATIONS, shares.NAME: shares.SHARES}


@dataclass(frozen=True, slots=True)
class Exploration:
    """A layer with its numbers: (1 − floor) of the choices are the layer's at `scale`, the rest is uniform."""

    name: str
    scale: float
    floor: float = 0.0

    def weigh(self, scores: FloatArray, deviations: FloatArray, normals: Normals) -> FloatArray:
        """Choice probabilities (..., K) over arms with these scores and deviations (..., K); rows sum to 1."""
        return self._mixed(_LAYERS[self.name].weigh(scores, deviations, self.scale, normals))

    def near(self) -> NearLayer:
        """`weigh` for a series of calls with scores (n, K) of the same queries, at different prices of money."""
        near = _LAYERS[self.name].near
        if near is None:
            return self.weigh
        layer = near(self.scale)
        return lambda scores, deviations, normals: self._mixed(layer(scores, deviations, normals))

    def weigh_one(self, scores: Sequence[float], deviations: Sequence[float], normals: Normals) -> list[float]:
        """`weigh` for a single query."""
        family = _LAYERS[self.name]
        if family.weigh_one is not None and self.floor == 0.0:
            return family.weigh_one(scores, self.scale)
        weights: list[float] = self.weigh(np.array(scores), np.array(deviations), normals).tolist()
        return weights

    def _mixed(self, weights: FloatArray) -> FloatArray:
        """The layer's probabilities (..., K) with the uniform share in them."""
        if self.floor == 0.0:
            return weights
        mixed: FloatArray = (1.0 - self.floor) * weights + self.floor / weights.shape[-1]
        return np.asarray(mixed / mixed.sum(axis=-1, keepdims=True))

    def with_uniform(self, share: float) -> Exploration:
        """The layer where a further `share` of the choices is uniform."""
        return replace(self, floor=1.0 - (1.0 - self.floor) * (1.0 - share)) if share else self


FIXED_SHARES = Exploration(shares.NAME, 1.0)
"""The layer of a learner whose scores are shares."""


def parse_exploration(text: str) -> Exploration:
    """A layer as a pool names it, such as 'igw' or 'igw:tau=800'. Raises SpecError."""
    name, parameters = parse_spec(text, {name: family.defaults for name, family in EXPLORATIONS.items()})
    scale, floor = EXPLORATIONS[name].configure(parameters)
    return Exploration(name, scale, floor)
