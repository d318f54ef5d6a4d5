"""A bounded memory of embeddings in front of any encoder."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

from bandit_router.ports.encoder import Embeddings, Encoder

DEFAULT_CAPACITY = 4096
"""Texts remembered; at dimension 384 that is 6 MiB of rows."""

_KEY_BYTES = 16
_Row = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Texts answered from memory, texts sent to the encoder, and texts held now."""

    hits: int
    misses: int
    entries: int


class CachedEncoder:
    """The encoder it wraps, by id and by answers, but encoding a text again only once it was forgotten.

    Remembers up to `capacity` (at least 1) texts by a 128-bit hash, never the text; the least recently used goes first.
    A batch sends each of its unknown texts to the wrapped encoder once, in one call, outside the lock: two threads
    that miss the same text at the same moment both encode it. Raises ValueError for a capacity under 1.
    """

    def __init__(self, inner: Encoder, *, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: must be at least 1, got {capacity}")
        self._inner = inner
        self._capacity = capacity
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._hits = 0
        self._misses = 0
        self._lock = Lock()

    @property
    def encoder_id(self) -> str:
        """That of the wrapped encoder."""
        return self._inner.encoder_id

    @property
    def dimension(self) -> int:
        """That of the wrapped encoder."""
        return self._inner.dimension

    @property
    def counts(self) -> CacheCounts:
        """What the memory did so far."""
        with self._lock:
            return CacheCounts(hits=self._hits, misses=self._misses, entries=len(self._rows))

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """See `Encoder.encode`; raises what the wrapped encoder raises and then remembers nothing of the batch."""
        keys = [_key(text) for text in texts]
        known = self._recall(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = self._inner.encode(list(missing.values()))
            known.update(zip(missing, rows, strict=True))
            self._remember({key: known[key] for key in missing})
        result = np.empty((len(keys), self.dimension), dtype=np.float32)
        for row, key in zip(result, keys, strict=True):
            row[:] = known[key]
        return result

    def _recall(self, keys: list[bytes]) -> dict[bytes, _Row]:
        with self._lock:
            known = {key: self._rows[key] for key in keys if key in self._rows}
            for key in known:
                self._rows.move_to_end(key)
            hits = sum(key in known for key in keys)
            self._hits += hits
            self._misses += len(keys) - hits
        return known

    def _remember(self, rows: dict[bytes, _Row]) -> None:
        with self._lock:
            for key, row in rows.items():
                self._rows[key] = row.copy()  # not a view, which would keep its whole batch alive
            while len(self._rows) > self._capacity:
                self._rows.popitem(last=False)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()
