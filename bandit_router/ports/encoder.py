"""Text in, vectors out: the port behind which every prompt encoder stands.

An encoder is a pure function of the text: no clock, no randomness, no state that changes an answer. It is
synchronous and CPU-bound; a caller on an event loop runs it in a worker thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Embeddings = npt.NDArray[np.float32]
"""One embedding a row: shape (n, dimension)."""


class EncoderError(Exception):
    """An encoder cannot do what it was asked. The message is fit for the caller's eyes."""


class TextNotSupported(EncoderError):
    """The encoder takes vectors from the caller and cannot encode text."""


class EncoderUnavailable(EncoderError):
    """What the encoder needs (a library, model weights, its table) is absent or unreadable."""


class Encoder(Protocol):
    """Maps texts to vectors of one fixed dimension. Implementations are safe to share between threads."""

    @property
    def encoder_id(self) -> str:
        """What `make_encoder` takes to build this encoder again; stored beside learned state."""
        ...

    @property
    def dimension(self) -> int:
        """Length of every row that `encode` returns, at least 1."""
        ...

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Return the float32 embeddings of `texts`, shape (len(texts), dimension), in the same order.

        Deterministic, and a row depends on its own text only (up to float rounding, where a library pads
        batches). Rows are finite, of norm 1 or 0; a text without a token, such as the empty one, is all
        zeros: nothing is known of it. No length of text is refused; each encoder documents how much of a long
        one it reads. Raises `TextNotSupported` from an encoder of caller-supplied vectors.
        """
        ...
