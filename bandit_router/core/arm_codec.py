"""Bytes of arms' sums: a JSON row per arm, and their numbers as little-endian float64.

The numbers are, per arm (in the order of the rows), for reward and for tokens, the gram's upper triangle and the
moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bandit_router.core.arm_state import Arms, ArmState
from bandit_router.core.regression import FloatArray, RegressionSums


def arm_rows(arms: Arms) -> list[dict[str, Any]]:
    """What a header says of each arm."""
    return [
        {
            "id": arm_id,
            "settled": arm.settled,
            "reward": [arm.reward.square, arm.reward.count],
            "tokens": [arm.tokens.square, arm.tokens.count],
        }
        for arm_id, arm in arms.items()
    ]


def pack_arms(arms: Arms, dimension: int) -> bytes:
    """The arms' numbers."""
    upper = np.triu_indices(dimension)
    blocks = [
        np.concatenate([sums.gram[upper], sums.moment]).astype("<f8").tobytes()
        for arm in arms.values()
        for sums in (arm.reward, arm.tokens)
    ]
    return b"".join(blocks)


def unpack_arms(rows: Sequence[dict[str, Any]], data: bytes, dimension: int) -> tuple[Arms, bytes]:
    """The arms of these rows, and the bytes that follow their numbers. Raises ValueError if there are too few."""
    numbers_each = dimension * (dimension + 1) // 2 + dimension
    numbers = np.frombuffer(data, dtype="<f8", count=2 * len(rows) * numbers_each).astype(np.float64)
    blocks = iter(numbers.reshape(2 * len(rows), numbers_each))
    arms = {
        row["id"]: ArmState(
            reward=_sums(dimension, next(blocks), *row["reward"]),
            tokens=_sums(dimension, next(blocks), *row["tokens"]),
            settled=row["settled"],
        )
        for row in rows
    }
    return arms, data[numbers.nbytes :]


def _sums(dimension: int, block: FloatArray, square: float, count: int) -> RegressionSums:
    triangle = dimension * (dimension + 1) // 2
    gram = np.zeros((dimension, dimension))
    gram[np.triu_indices(dimension)] = block[:triangle]
    gram = gram + np.triu(gram, 1).T
    return RegressionSums(gram=gram, moment=block[triangle:].copy(), square=square, count=count)
