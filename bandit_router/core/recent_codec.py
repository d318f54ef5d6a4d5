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
    recency = state.recency
    if not recency.arms:
        return None
    header = json.dumps({"clock": recency.clock, "arms": list(recency.arms)}).encode()
    rows = [np.concatenate([[sums.weight, sums.y], sums.x]) for sums in recency.arms.values()]
    return struct.pack("<I", len(header)) + header + np.concatenate(rows).astype("<f8").tobytes()


def unpack_recency(state: PoolState, _version: int, data: bytes) -> None:
    """Set the recency that `pack_recency` wrote. Raises ValueError."""
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length])
    numbers = np.frombuffer(data, dtype="<f8", offset=4 + length).astype(np.float64)
    rows = numbers.reshape(len(header["arms"]), _SCALARS + state.dimension)
    state.recency = Recency(
        header["clock"],
        {
            arm_id: ArmRecency(row[_SCALARS:].copy(), float(row[0]), float(row[1]))
            for arm_id, row in zip(header["arms"], rows, strict=True)
        },
    )
