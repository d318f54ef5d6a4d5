"""Entropy for simulations: the same seed gives the same ids."""

from __future__ import annotations

import hashlib

_BLOCK_BYTES = 64


class SeededEntropy:
    """A stream of bytes that is a pure function of the seed: BLAKE2b of a counter, keyed with the seed."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.blake2b(str(seed).encode()).digest()
        self._counter = 0

    def token_bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        blocks = -(-count // _BLOCK_BYTES)
        return b"".join(self._block() for _ in range(blocks))[:count]

    def _block(self) -> bytes:
        self._counter += 1
        return hashlib.blake2b(self._counter.to_bytes(8, "little"), key=self._key).digest()
