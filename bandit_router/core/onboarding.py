"""Arms that are new: tried until what was agreed for it has been spent on them.

An arm whose quota is not used up scores as high as the best arm, at least, whatever it costs. How often it is chosen
is then up to the exploration layer, which gives equal scores equal chances; so the probabilities of choices stay exact,
and the price of money, solved with the same scores, takes the trial into account. The quota is in money, which is
what trials cost: a number of them would be too few of a cheap arm or too many of a dear one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm

BoolArray = npt.NDArray[np.bool_]


def are_new(arms: Sequence[Arm], spent_nusd: Sequence[int]) -> BoolArray:
    """Which of the arms have spent less than their quota."""
    return np.array([spent < arm.onboarding_nusd for arm, spent in zip(arms, spent_nusd, strict=True)], dtype=bool)


def lifted(scores: FloatArray, new: BoolArray) -> FloatArray:
    """Scores (..., K) with those of new arms (K,) raised to the best of their row."""
    if not new.any():
        return scores
    best = np.max(scores, axis=-1, keepdims=True)
    return np.where(new, best, scores)
