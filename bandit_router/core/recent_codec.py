"""Bytes of a pool's recency: a JSON header, then per arm (in header order) Σw, Σwy, Σwx as
little-endian float64.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from bandit_router.core.pool_state import PoolState
from bandit_router.core.recent import ArmRecency, Recency

_SCALARS = 2


def pack_recency(state: PoolState) -> bytes | None:
    """The section's bytes, or None where no reward has been learned."""
    return recency_bytes(state.recency) if state.recency.arms else None


def unpack_recency(state: PoolState, _version: int, data: bytes) -> None:
    """Set the recency that `pack_recency` wrote. Raises ValueError."""
    state.recency, _ = recency_from(data, state.dimension)


def recency_bytes(recency: Recency) -> bytes:
    """The bytes of one recency."""
    header = json.dumps({"clock": recency.clock, "arms": list(recency.arms)}).encode()
    rows = [np.array([[sums.weight, sums.y, *sums.x]]).astype("<f8").tobytes() for sums in recency.arms.values()]
    return b"".join([struct.pack("<I", len(header)), header, *rows])


def recency_from(data: bytes, dimension: int) -> tuple[Recency, bytes]:
    """The recency that these bytes begin with, and the bytes that follow it. Raises ValueError."""
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length])
    count = len(header["arms"]) * (_SCALARS + dimension)
    numbers = np.frombuffer(data[4 + length :], dtype="<f8", count=count).astype(np.float64)
    rows = numbers.reshape(len(header["arms"]), _SCALARS + dimension)
    arms = {
        arm_id: ArmRecency(row[_SCALARS:].copy(), float(row[0]), float(row[1]))
        for arm_id, row in zip(header["arms"], rows, strict=True)
    }
    return Recency(header["clock"], arms), data[4 + length + numbers.nbytes :]
