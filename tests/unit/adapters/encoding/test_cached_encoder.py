from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bandit_router.adapters.encoding import CacheCounts, CachedEncoder
from bandit_router.ports.encoder import Embeddings, EncoderError


class RecordingEncoder:
    """Encodes a text as its length and keeps the batches it was asked for."""

    encoder_id = "recording"
    dimension = 2

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Embeddings:
        self.batches.append(list(texts))
        if "bad" in texts:
            raise EncoderError("no")
        return np.array([[len(text), 1] for text in texts], dtype=np.float32).reshape(-1, 2)


def test_only_misses_are_encoded_and_order_is_kept() -> None:
    inner = RecordingEncoder()
    cached = CachedEncoder(inner)
    cached.encode(["a", "ccc"])
    assert cached.encode(["bb", "a", "dddd", "ccc"])[:, 0].tolist() == [2, 1, 4, 3]
    assert inner.batches == [["a", "ccc"], ["bb", "dddd"]]


def test_a_text_repeated_in_a_batch_is_encoded_once() -> None:
    inner = RecordingEncoder()
    assert CachedEncoder(inner).encode(["a", "bb", "a"])[:, 0].tolist() == [1, 2, 1]
    assert inner.batches == [["a", "bb"]]


def test_the_least_recently_used_text_is_forgotten_first() -> None:
    inner = RecordingEncoder()
    cached = CachedEncoder(inner, capacity=2)
    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        cached.encode([text])
    assert inner.batches == [["a"], ["bb"], ["ccc"], ["bb"]]


def test_a_batch_larger_than_the_capacity_is_answered_in_full() -> None:
    cached = CachedEncoder(RecordingEncoder(), capacity=1)
    assert cached.encode(["a", "bb", "ccc"])[:, 0].tolist() == [1, 2, 3]
    assert cached.counts.entries == 1


def test_counts_add_up() -> None:
    cached = CachedEncoder(RecordingEncoder())
    cached.encode(["a", "bb"])
    cached.encode(["a", "a", "ccc"])
    assert cached.counts == CacheCounts(hits=2, misses=3, entries=3)


def test_a_failed_batch_leaves_nothing_behind() -> None:
    cached = CachedEncoder(RecordingEncoder())
    with pytest.raises(EncoderError):
        cached.encode(["a", "bad"])
    assert cached.counts.entries == 0


def test_a_capacity_under_one_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity: must be at least 1"):
        CachedEncoder(RecordingEncoder(), capacity=0)
