"""Bytes of a pool's examples, for the section of its state that holds them.

Layout: header length (4 bytes), JSON header with the capacity and a row per example, then the contexts in the order of
the rows as little-endian float32.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from bandit_router.core.examples import Example, Examples
from bandit_router.core.pool_state import PoolState


def pack_examples(state: PoolState) -> bytes | None:
    """The examples of a state, or None if it remembers none."""
    if not state.examples.capacity:
        return None
    examples = state.examples.all()
    rows = [[e.decision_id, e.arm_id, e.decided_ms, e.reward] for e in examples]
    header = json.dumps({"capacity": state.examples.capacity, "rows": rows}, separators=(",", ":")).encode()
    contexts = [example.context.astype("<f4").tobytes() for example in examples]
    return b"".join([struct.pack("<I", len(header)), header, *contexts])


def unpack_examples(state: PoolState, version: int, data: bytes) -> None:
    """Set the examples of a state from what `pack_examples` has made. Raises ValueError."""
    assert version == 1, version
    (header_bytes,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + header_bytes])
    numbers = np.frombuffer(data[4 + header_bytes :], dtype="<f4").astype(np.float32)
    contexts = numbers.reshape(len(header["rows"]), state.dimension)
    found = [
        Example(decision_id, arm_id, decided_ms, context, reward)
        for (decision_id, arm_id, decided_ms, reward), context in zip(header["rows"], contexts, strict=True)
    ]
    state.examples = Examples(header["capacity"], found)
