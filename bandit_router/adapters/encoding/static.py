"""The default encoder: a table of token vectors, looked up and averaged.

The table is distilled from the sentence encoder all-MiniLM-L6-v2 by `tools/distil_encoder.py` and ships with the
package: no deep-learning library, no download, about 0.13 ms a prompt. What it gives up is measured in
`docs/decisions/0001-static-encoder.md`.

    embedding = normalise(sum over tokens of table[token])

Frequency weights are part of the table's rows. Coordinates are ordered by variance, so that the first k of them are
the best k-dimensional encoder the table contains.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import resources
from zipfile import BadZipFile

import numpy as np
from tokenizers import Tokenizer

from bandit_router.ports.encoder import Embeddings, EncoderUnavailable

MAX_CHARACTERS = 2048
"""How much of a prompt is read, from its beginning; the rest is ignored. A text this long takes about 0.7 ms."""

MAX_TOKENS = 512
"""How many tokens of what was read are averaged."""

_DATA_PACKAGE = "bandit_router.adapters.encoding"
_TABLE_PATH = ("data", "static.npz")
_TOKENIZER_PATH = ("data", "tokenizer.json")


class StaticEncoder:
    """The encoder with id `static`. Texts without a known token give zeros. Raises `EncoderUnavailable`."""

    def __init__(self) -> None:
        self._table = load_table(_read(*_TABLE_PATH))
        self._tokenizer = _load_tokenizer(_read(*_TOKENIZER_PATH))

    @property
    def encoder_id(self) -> str:
        """Always `static`."""
        return "static"

    @property
    def dimension(self) -> int:
        """Columns of the shipped table."""
        return int(self._table.shape[1])

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """See `Encoder.encode`. Reads the first `MAX_CHARACTERS` characters and `MAX_TOKENS` tokens of a text.

        A row is bit for bit the same in any batch.
        """
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            token_ids = self._tokenizer.encode(_readable(text), add_special_tokens=False).ids[:MAX_TOKENS]
            self._table[token_ids].sum(axis=0, out=row)
            row /= np.linalg.norm(row) or 1.0
        return rows


def load_table(content: bytes) -> Embeddings:
    """Return the float32 table (vocabulary, dimension) stored as int8 `codes` and per-column `scales`.

    Raises `EncoderUnavailable`.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return np.asarray(stored["codes"] * stored["scales"], dtype=np.float32)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise EncoderUnavailable("static encoder: its table is not readable; reinstall the package") from error


def _read(*path: str) -> bytes:
    try:
        return resources.files(_DATA_PACKAGE).joinpath(*path).read_bytes()
    except OSError as error:
        raise EncoderUnavailable(f"static encoder: {'/'.join(path)} is missing; reinstall the package") from error


def _load_tokenizer(content: bytes) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises bare Exception, of no narrower type
        raise EncoderUnavailable("static encoder: its tokenizer is not readable; reinstall the package") from error


def _readable(text: str) -> str:
    """The part of the text that is read; lone surrogates, which no tokenizer takes, become question marks."""
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
