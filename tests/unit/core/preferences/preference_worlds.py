"""Battles and scores drawn from arms that are known."""

from __future__ import annotations

import numpy as np

from bandit_router.core.preferences.battles import BattleTable
from bandit_router.core.regression import FloatArray

ARMS = ("a", "b", "c", "d")


def random_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def draw_contexts(random: np.random.Generator, count: int, size: int) -> FloatArray:
    contexts = random.normal(size=(count, size))
    contexts[:, 0] = 1.0
    return contexts


def draw_battles(
    random: np.random.Generator, beta: FloatArray, contexts: FloatArray, *, per_prompt: int = 4, tie_share: float = 0.0
) -> BattleTable:
    """Battles between random pairs of arms, decided by Bradley-Terry; some are ties whatever the arms."""
    prompt = np.repeat(np.arange(len(contexts)), per_prompt)
    first = random.integers(len(beta), size=len(prompt))
    second = (first + random.integers(1, len(beta), size=len(prompt))) % len(beta)
    utility = contexts @ beta.T
    chance = 1.0 / (1.0 + np.exp(utility[prompt, second] - utility[prompt, first]))
    wins = (random.random(len(prompt)) < chance).astype(float)
    wins[random.random(len(prompt)) < tie_share] = 0.5
    return BattleTable(ARMS[: len(beta)], prompt, first, second, wins)
