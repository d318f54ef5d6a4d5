"""Bytes of a pool's discounted sums, those of its tenants' seats included, for the section of its state.

Layout: header length (4 bytes), JSON header with a row per book (the pool's, then those of the sharing seats and of the
isolated ones, in their order), then per arm of each book Σ γ^age, the moment and the upper triangles of both grams as
little-endian float64.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from bandit_router.core.discounted import KEEPS_NOTHING, ArmDiscounted, Discounted
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import FloatArray


def pack_discounted(state: PoolState) -> bytes | None:
    """The sums of a state, or None if it keeps none."""
    if state.discounted.gamma == KEEPS_NOTHING:
        return None
    seats = state.tenants.seats if state.tenants.are_told_apart else ()
    kept = [state.discounted, *(seat.book.discounted for seat in seats)]
    header = json.dumps([_row(sums) for sums in kept], separators=(",", ":")).encode()
    upper = np.triu_indices(state.dimension)
    numbers = [
        np.concatenate([[arm.weight], arm.moment, arm.gram[upper], arm.square_gram[upper]]).astype("<f8").tobytes()
        for sums in kept
        for arm in sums.arms.values()
    ]
    return b"".join([struct.pack("<I", len(header)), header, *numbers])


def unpack_discounted(state: PoolState, version: int, data: bytes) -> None:
    """Set the sums of a state, whose seats have been set, from what `pack_discounted` has made. Raises ValueError."""
    assert version == 1, version
    (header_bytes,) = struct.unpack("<I", data[:4])
    rows = json.loads(data[4 : 4 + header_bytes])
    dimension = state.dimension
    numbers = np.frombuffer(data[4 + header_bytes :], dtype="<f8").astype(np.float64)
    arms = iter(numbers.reshape(-1, 1 + dimension + dimension * (dimension + 1)))
    state.discounted, *seated = [_discounted(row, arms, dimension) for row in rows]
    for seat, sums in zip(state.tenants.seats, seated, strict=True):
        seat.book.discounted = sums


def _row(sums: Discounted) -> list[Any]:
    return [sums.gamma, sums.clock, sums.floor, sums.past, list(sums.arms)]


def _discounted(row: list[Any], arms: Iterator[FloatArray], dimension: int) -> Discounted:
    gamma, clock, floor, past, arm_ids = row
    return Discounted(gamma, clock, floor, past, {arm_id: _arm(next(arms), dimension) for arm_id in arm_ids})


def _arm(numbers: FloatArray, dimension: int) -> ArmDiscounted:
    moment, grams = numbers[1 : 1 + dimension].copy(), numbers[1 + dimension :].reshape(2, -1)
    gram, square_gram = (_symmetric(triangle, dimension) for triangle in grams)
    return ArmDiscounted(gram, moment, square_gram, float(numbers[0]))


def _symmetric(triangle: FloatArray, dimension: int) -> FloatArray:
    matrix = np.zeros((dimension, dimension))
    matrix[np.triu_indices(dimension)] = triangle
    return matrix + np.triu(matrix, 1).T
