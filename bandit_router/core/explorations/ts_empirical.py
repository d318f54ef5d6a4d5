"""`ts_empirical`: posterior sampling with probabilities that are exact.

The probability with which Thompson sampling would choose an arm is an integral; but S samples of all arms' scores can
be drawn, and the arm be drawn from the frequencies with which each came out best, mixed with a uniform floor:

    g_a^s = g_a + deviation_a · z_a^s,   p_a = (1 − floor) · #{s: a = argmax g^s} / S + floor / K

Given the samples these probabilities are exact, and the samples are named by (seed, request or decision id): they are
worked out again from the record. The deviations are the learner's, so `lints` is the learner for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.explorations.protocol import ExplorationFamily, Normals
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError

MAX_SAMPLES = 1_000


def _configure(parameters: Mapping[str, float]) -> tuple[float, float]:
    samples, floor = parameters["samples"], parameters["floor"]
    if not (1 <= samples <= MAX_SAMPLES and samples == int(samples)):
        raise SpecError(f"ts_empirical:samples must be a whole number in 1..{MAX_SAMPLES}, got {samples:g}")
    if not 0.0 < floor <= 1.0:
        raise SpecError(f"ts_empirical:floor must be positive and at most 1, got {floor:g}")
    return samples, floor


def _weigh(scores: FloatArray, deviations: FloatArray, scale: float, normals: Normals) -> FloatArray:
    sampled = scores[..., None, :] + deviations[..., None, :] * normals(int(scale))
    best = sampled.argmax(axis=-1)
    won: FloatArray = (best[..., None] == np.arange(scores.shape[-1])).mean(axis=-2, dtype=np.float64)
    return won


TS_EMPIRICAL = ExplorationFamily(defaults={"samples": 64.0, "floor": 0.01}, configure=_configure, weigh=_weigh)
