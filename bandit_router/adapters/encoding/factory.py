"""From an encoder id, as a pool's configuration states it, to the encoder."""

from __future__ import annotations

from bandit_router.adapters.encoding.sentence_transformers import PREFIX as SENTENCE_TRANSFORMERS_PREFIX
from bandit_router.adapters.encoding.sentence_transformers import SentenceTransformersEncoder
from bandit_router.adapters.encoding.static import StaticEncoder
from bandit_router.adapters.encoding.vector import PREFIX as VECTOR_PREFIX
from bandit_router.adapters.encoding.vector import VectorEncoder
from bandit_router.core.projection import MAX_INPUT_DIMENSION
from bandit_router.ports.encoder import Encoder

_STATIC_ID = "static"


class UnknownEncoder(ValueError):
    """The encoder id is none that exists; the message names the field and the rule."""


def make_encoder(encoder_id: str) -> Encoder:
    """Build the encoder of `encoder_id`: `static`, `sentence-transformers:NAME_OR_PATH` or `vector:DIM`.

    Raises `UnknownEncoder` for anything else and `EncoderUnavailable` where a known one cannot be loaded.
    """
    if encoder_id == _STATIC_ID:
        return StaticEncoder()
    if encoder_id.startswith(SENTENCE_TRANSFORMERS_PREFIX):
        return SentenceTransformersEncoder(_model_name(encoder_id))
    if encoder_id.startswith(VECTOR_PREFIX):
        return VectorEncoder(_vector_dimension(encoder_id))
    raise UnknownEncoder(
        f"encoder: must be {_STATIC_ID}, {SENTENCE_TRANSFORMERS_PREFIX}NAME_OR_PATH or {VECTOR_PREFIX}DIM, "
        f"got {encoder_id!r}"
    )


def _model_name(encoder_id: str) -> str:
    name = encoder_id.removeprefix(SENTENCE_TRANSFORMERS_PREFIX)
    if not name.strip():
        raise UnknownEncoder(f"encoder: NAME_OR_PATH must follow {SENTENCE_TRANSFORMERS_PREFIX}, got {encoder_id!r}")
    return name


def _vector_dimension(encoder_id: str) -> int:
    digits = encoder_id.removeprefix(VECTOR_PREFIX)
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(MAX_INPUT_DIMENSION))
    if not is_number or not 1 <= int(digits) <= MAX_INPUT_DIMENSION:
        raise UnknownEncoder(
            f"encoder: DIM of {VECTOR_PREFIX}DIM must be a whole number in 1..{MAX_INPUT_DIMENSION}, got {encoder_id!r}"
        )
    return int(digits)
