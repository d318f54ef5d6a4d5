from __future__ import annotations

import sys

import numpy as np
import pytest

from bandit_router.adapters.encoding import (
    SentenceTransformersEncoder,
    StaticEncoder,
    UnknownEncoder,
    VectorEncoder,
    make_encoder,
)
from bandit_router.core.projection import MAX_INPUT_DIMENSION, InvalidEmbedding
from bandit_router.ports.encoder import EncoderUnavailable, TextNotSupported


def test_static_is_made_by_its_id() -> None:
    assert isinstance(make_encoder("static"), StaticEncoder)


@pytest.mark.parametrize("dimension", [1, 384, MAX_INPUT_DIMENSION])
def test_vector_ids_carry_their_dimension(dimension: int) -> None:
    encoder = make_encoder(f"vector:{dimension}")
    assert isinstance(encoder, VectorEncoder)
    assert encoder.dimension == dimension
    assert encoder.encoder_id == f"vector:{dimension}"


@pytest.mark.parametrize(
    "encoder_id",
    [
        *("", "Static", "static:64", "bert", "sentence-transformers:", "sentence-transformers: ", "vector", "vector:"),
        *("vector:0", "vector:-3", "vector:1.5", "vector: 8", "vector:٣", f"vector:{MAX_INPUT_DIMENSION + 1}"),
        "vector:" + "9" * 5000,
    ],
)
def test_other_ids_are_refused_with_the_field_and_the_rule(encoder_id: str) -> None:
    with pytest.raises(UnknownEncoder, match=r"^encoder: .*(must be|must follow)"):
        make_encoder(encoder_id)


def test_vector_encoder_refuses_text_and_says_what_to_send() -> None:
    with pytest.raises(TextNotSupported, match="send an embedding of 3 numbers"):
        VectorEncoder(3).encode(["a text"])


def test_vector_encoder_takes_vectors_of_its_dimension() -> None:
    accepted = VectorEncoder(3).accept([[1, 2, 3], [0.5, 0, -1]])
    assert accepted.dtype == np.float32
    assert accepted.tolist() == [[1, 2, 3], [0.5, 0, -1]]


@pytest.mark.parametrize(
    "vectors",
    [
        *([[1, 2]], [1, 2, 3], [[1, 2, float("nan")]], [[1, 2, float("inf")]], [[1, 2, 1e39]]),
        *([["a", "b", "c"]], [[1], [1, 2]]),
    ],
)
def test_vector_encoder_refuses_other_vectors(vectors: list[object]) -> None:
    with pytest.raises(InvalidEmbedding, match="embedding: "):
        VectorEncoder(3).accept(vectors)  # type: ignore[arg-type]


@pytest.mark.parametrize("dimension", [0, -1, MAX_INPUT_DIMENSION + 1])
def test_vector_encoder_refuses_a_dimension_out_of_range(dimension: int) -> None:
    with pytest.raises(ValueError, match="dimension: must be in"):
        VectorEncoder(dimension)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EncoderUnavailable, match=r"bandit-router\[sentence-transformers\]"):
        make_encoder("sentence-transformers:any-model")


def test_missing_model_is_reported_with_its_name(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderUnavailable, match=f"sentence-transformers:{tmp_path}"):
        SentenceTransformersEncoder(str(tmp_path))
