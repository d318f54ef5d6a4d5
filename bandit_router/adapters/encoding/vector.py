"""The encoder of pools whose callers send their own vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from bandit_router.core.projection import MAX_INPUT_DIMENSION, checked_embeddings
from bandit_router.ports.encoder import Embeddings, TextNotSupported

PREFIX = "vector:"


class VectorEncoder:
    """The encoder with id `vector:DIM`: takes vectors of that length as they are and refuses text.

    Vectors are not normalised; a caller who wants rows of norm 1 sends such. Raises ValueError for a dimension
    outside 1..`MAX_INPUT_DIMENSION`.
    """

    def __init__(self, dimension: int) -> None:
        if not 1 <= dimension <= MAX_INPUT_DIMENSION:
            raise ValueError(f"dimension: must be in 1..{MAX_INPUT_DIMENSION}, got {dimension}")
        self._dimension = dimension

    @property
    def encoder_id(self) -> str:
        """The prefix and the dimension."""
        return f"{PREFIX}{self._dimension}"

    @property
    def dimension(self) -> int:
        """Length of the vectors it takes."""
        return self._dimension

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Always raises `TextNotSupported`."""
        raise TextNotSupported(
            f"query: encoder {self.encoder_id} cannot encode text (got {len(texts)}); "
            f"send an embedding of {self._dimension} numbers instead"
        )

    def accept(self, vectors: npt.ArrayLike) -> Embeddings:
        """Return the caller's vectors as float32 (n, dimension). Raises `InvalidEmbedding`."""
        return checked_embeddings(vectors, dimension=self._dimension)
