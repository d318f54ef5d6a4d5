"""Any model of the sentence-transformers library, named or by path, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bandit_router.ports.encoder import Embeddings, EncoderError, EncoderUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PREFIX = "sentence-transformers:"
BATCH_SIZE = 32
"""Texts that go through the model at a time; larger batches are cut into these."""


class SentenceTransformersEncoder:
    """The encoder with id `sentence-transformers:NAME_OR_PATH`.

    A path to a directory is never looked up on a network. Texts beyond the model's own maximum length (256 word
    pieces for all-MiniLM-L6-v2) are cut there. The model is loaded at once. Raises `EncoderUnavailable`.
    """

    def __init__(self, name_or_path: str) -> None:
        self._name_or_path = name_or_path
        self._model = _load(name_or_path)
        self._dimension = int(self._forward(["dimension"]).shape[1])

    @property
    def encoder_id(self) -> str:
        """The prefix and the name or path as given."""
        return PREFIX + self._name_or_path

    @property
    def dimension(self) -> int:
        """Length of the model's sentence embedding."""
        return self._dimension

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """See `Encoder.encode`. Rows agree between batches up to float rounding. Raises `EncoderError`."""
        rows = np.zeros((len(texts), self._dimension), dtype=np.float32)
        filled = [index for index, text in enumerate(texts) if text.strip()]
        if filled:
            rows[filled] = self._forward([_well_formed(texts[index]) for index in filled])
        if not np.isfinite(rows).all():
            raise EncoderError(f"{self.encoder_id}: the model returned values that are not finite")
        return rows

    def _forward(self, texts: list[str]) -> Embeddings:
        rows = self._model.encode(
            texts,
            batch_size=BATCH_SIZE,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.asarray(rows, dtype=np.float32)


def _load(name_or_path: str) -> SentenceTransformer:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EncoderUnavailable(
            f"{PREFIX}{name_or_path}: install the extra `bandit-router[sentence-transformers]`"
        ) from error
    is_local = Path(name_or_path).is_dir()
    try:
        return SentenceTransformer(name_or_path, device="cpu", local_files_only=is_local)
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderUnavailable(
            f"{PREFIX}{name_or_path}: no such model directory, nor a model that could be fetched"
        ) from error


def _well_formed(text: str) -> str:
    """The text with lone surrogates, which no tokenizer takes, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
