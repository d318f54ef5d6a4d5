"""`softmax`: p_a ∝ exp(g_a / temperature), the temperature in units of reward (Boltzmann exploration)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError


def _configure(parameters: Mapping[str, float]) -> tuple[float, float]:
    temperature, floor = parameters["temperature"], parameters["floor"]
    if temperature <= 0.0:
        raise SpecError(f"softmax:temperature must be positive, got {temperature:g}")
    if not 0.0 <= floor <= 1.0:
        raise SpecError(f"softmax:floor must be in 0..1, got {floor:g}")
    return temperature, floor


def _weigh(scores: FloatArray, _deviations: FloatArray, scale: float, _normals: Normals) -> FloatArray:
    weights = np.exp((scores - scores.max(axis=-1, keepdims=True)) / scale)
    total: FloatArray = weights / weights.sum(axis=-1, keepdims=True)
    return total


SOFTMAX = ExplorationFamily(defaults={"temperature": 0.005, "floor": 0.0}, configure=_configure, weigh=_weigh)
