"""The exploration layers that a pool can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router.core.explorations.igw import IGW
from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import parse_spec

EXPLORATIONS: Mapping[str, ExplorationFamily] = {"igw": IGW}
"""Exploration layers by name."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """A layer with its numbers: (1 − floor) of the choices are the layer's at `scale`, the rest is uniform."""

    name: str
    scale: float
    floor: float = 0.0

    def weigh(self, scores: FloatArray, deviations: FloatArray, normals: Normals) -> FloatArray:
        """Choice probabilities (..., K) over arms with these scores and deviations (..., K); rows sum to 1."""
        weights = EXPLORATIONS[self.name].weigh(scores, deviations, self.scale, normals)
        if self.floor == 0.0:
            return weights
        mixed: FloatArray = (1.0 - self.floor) * weights + self.floor / scores.shape[-1]
        return np.asarray(mixed / mixed.sum(axis=-1, keepdims=True))


def parse_exploration(text: str) -> Exploration:
    """A layer as a pool names it, such as 'igw' or 'igw:tau=800'. Raises SpecError."""
    name, parameters = parse_spec(text, {name: family.defaults for name, family in EXPLORATIONS.items()})
    scale, floor = EXPLORATIONS[name].configure(parameters)
    return Exploration(name, scale, floor)
