"""Bytes of a pool's state: a JSON header, the sums as little-endian float64, and a checksum over both.

Layout: magic, header length (4 bytes), header, per arm (in header order) for reward and for tokens the gram's upper
triangle and the moment, then the blake2b digest of everything before it.
"""

from __future__ import annotations

import json
import struct
from hashlib import blake2b

import numpy as np

from bandit_router.core.pool_state import ArmState, PoolState
from bandit_router.core.regression import FloatArray, RegressionSums

_MAGIC = b"BRPOOL01"
_DIGEST_BYTES = 16


class CorruptState(ValueError):
    """Bytes that are not a pool state, or not the ones that were written."""


def encode_pool_state(state: PoolState) -> bytes:
    """Bytes from which `decode_pool_state` restores the state exactly."""
    header = json.dumps(
        {
            "dimension": state.dimension,
            "version": state.version,
            "events": state.events,
            "projection": state.projection_version,
            "positions": state.positions,
            "arms": [_arm_header(arm_id, arm) for arm_id, arm in state.arms.items()],
        },
        separators=(",", ":"),
    ).encode()
    upper = np.triu_indices(state.dimension)
    blocks = [
        np.concatenate([sums.gram[upper], sums.moment]).astype("<f8").tobytes()
        for arm in state.arms.values()
        for sums in (arm.reward, arm.tokens)
    ]
    body = b"".join([_MAGIC, struct.pack("<I", len(header)), header, *blocks])
    return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()


def decode_pool_state(data: bytes) -> PoolState:
    """Inverse of `encode_pool_state`. Raises CorruptState."""
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not body.startswith(_MAGIC) or blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        raise CorruptState("pool state has a wrong magic or checksum")
    offset = len(_MAGIC) + 4
    (header_bytes,) = struct.unpack("<I", body[len(_MAGIC) : offset])
    header = json.loads(body[offset : offset + header_bytes])
    numbers = np.frombuffer(body, dtype="<f8", offset=offset + header_bytes).astype(np.float64)
    blocks = iter(np.split(numbers, 2 * len(header["arms"])) if header["arms"] else [])
    dimension = header["dimension"]
    arms = {
        row["id"]: ArmState(
            reward=_sums(dimension, next(blocks), *row["reward"]),
            tokens=_sums(dimension, next(blocks), *row["tokens"]),
            settled=row["settled"],
        )
        for row in header["arms"]
    }
    positions = {int(partition): entry_id for partition, entry_id in header["positions"].items()}
    return PoolState(dimension, arms, positions, header["version"], header["events"], header["projection"])


def _arm_header(arm_id: str, arm: ArmState) -> dict[str, object]:
    return {
        "id": arm_id,
        "settled": arm.settled,
        "reward": [arm.reward.square, arm.reward.count],
        "tokens": [arm.tokens.square, arm.tokens.count],
    }


def _sums(dimension: int, block: FloatArray, square: float, count: int) -> RegressionSums:
    triangle = dimension * (dimension + 1) // 2
    gram = np.zeros((dimension, dimension))
    gram[np.triu_indices(dimension)] = block[:triangle]
    gram = gram + np.triu(gram, 1).T
    return RegressionSums(gram=gram, moment=block[triangle:].copy(), square=square, count=count)
