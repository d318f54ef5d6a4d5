"""`shares`: choice in proportion to the scores themselves, which a learner of fixed shares puts there.

No pool can name it. Where all shares are zero the arms are alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray

NAME = "shares"


def _configure(_parameters: Mapping[str, float]) -> tuple[float, float]:
    return 1.0, 0.0


def _weigh(scores: FloatArray, _deviations: FloatArray, _scale: float, _normals: Normals) -> FloatArray:
    total = scores.sum(axis=-1, keepdims=True)
    weights: FloatArray = np.where(total > 0.0, scores, 1.0)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


SHARES = ExplorationFamily(defaults={}, configure=_configure, weigh=_weigh)
