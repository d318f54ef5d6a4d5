"""`epsilon_floor`: the arm with the best score, except that `epsilon` of the choices are uniform.

It makes a deterministic rule such as UCB loggable: every arm keeps a known, positive probability. Of equal scores the
first arm is the best.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError


def _configure(parameters: Mapping[str, float]) -> tuple[float, float]:
    epsilon = parameters["epsilon"]
    if not 0.0 <= epsilon <= 1.0:
        raise SpecError(f"epsilon_floor:epsilon must be in 0..1, got {epsilon:g}")
    return 1.0, epsilon


def _weigh(scores: FloatArray, _deviations: FloatArray, _scale: float, _normals: Normals) -> FloatArray:
    best = scores.argmax(axis=-1, keepdims=True)
    chosen: FloatArray = (np.arange(scores.shape[-1]) == best).astype(np.float64)
    return chosen


EPSILON_FLOOR = ExplorationFamily(defaults={"epsilon": 0.02}, configure=_configure, weigh=_weigh)
