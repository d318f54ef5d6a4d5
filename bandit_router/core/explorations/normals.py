"""Standard normal draws that are named, not remembered: the same for the same names, wherever they are asked for."""

from __future__ import annotations

from functools import lru_cache
from hashlib import shake_256

import numpy as np

from bandit_router.core.explorations.protocol import Normals
from bandit_router.core.regression import FloatArray

BATCH_SAMPLES = 16
"""Samples per query where many queries are weighed at once: their mean is what counts there."""

_WORD_BYTES = 8
_TABLES = 8


def keyed_normals(seed: int, key: str, *, arms: int) -> Normals:
    """Draws (S, arms) for one decision; column a belongs to the arm at position a, whichever arms are weighed."""

    def draw(samples: int) -> FloatArray:
        name = b"normal:" + seed.to_bytes(8, "little", signed=True) + key.encode()
        return _normals(name, samples * arms).reshape(samples, arms)

    return draw


def batch_normals(rows: int, arms: int) -> Normals:
    """Draws (rows, BATCH_SAMPLES, arms), whatever the number asked for; the same for every price that is tried."""
    return lambda _: _table(rows, arms)


@lru_cache(maxsize=_TABLES)
def _table(rows: int, arms: int) -> FloatArray:
    table = _normals(b"batch", rows * BATCH_SAMPLES * arms).reshape(rows, BATCH_SAMPLES, arms)
    table.flags.writeable = False
    return table


def _normals(name: bytes, count: int) -> FloatArray:
    """`count` draws from an extendable hash of the name (Box and Muller, 1958)."""
    pairs = -(-count // 2)
    words = np.frombuffer(shake_256(name).digest(2 * pairs * _WORD_BYTES), dtype="<u8")
    uniforms = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(uniforms[:pairs])), 2.0 * np.pi * uniforms[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
