"""The context of a query: intercept, prompt length, declared features, projected embedding.

    x = [1, (ln(1 + prompt tokens) − 4.5) / 1.5, features…, embedding…]

The intercept is coordinate 0 (core.regression gives it its own prior). The length is centred and scaled so that
prompts of a few dozen to a few thousand tokens fall within about ±2. Contexts are float32 from birth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Context = npt.NDArray[np.float32]

MAX_CONTEXT_DIMENSION = 64
_LENGTH_CENTRE = 4.5
_LENGTH_SCALE = 1.5
_STRUCTURED = 2


def context_dimension(embedding_dimension: int, feature_count: int) -> int:
    """Length of the context vector of a pool."""
    return _STRUCTURED + feature_count + embedding_dimension


def build_context(
    embedding: npt.NDArray[np.float32], *, prompt_tokens: int, names: Sequence[str], features: Mapping[str, float]
) -> Context:
    """The context vector. `embedding` is projected already; a declared feature that is not given counts as 0."""
    head = [1.0, (math.log1p(prompt_tokens) - _LENGTH_CENTRE) / _LENGTH_SCALE]
    head.extend(features.get(name, 0.0) for name in names)
    return np.concatenate([np.asarray(head, dtype=np.float32), embedding])


BYTES_PER_TOKEN = 4
TEMPLATE_TOKENS = 16
UNSEEN_PROMPT_TOKENS = 256
MOST_UNSEEN_PROMPT_TOKENS = 8_192
"""For a vector that comes without text and without a token count: what to expect of its prompt, and to hold for."""


def expected_prompt_tokens(text_bytes: int) -> int:
    """Usual token count of a text of so many UTF-8 bytes."""
    return max(1, -(-text_bytes // BYTES_PER_TOKEN))


def most_prompt_tokens(text_bytes: int) -> int:
    """A bound on the token count: no tokenizer makes more tokens than bytes; chat templates add a few."""
    return text_bytes + TEMPLATE_TOKENS
