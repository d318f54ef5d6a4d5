from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.context import (
    TEMPLATE_TOKENS,
    build_context,
    context_dimension,
    expected_prompt_tokens,
    most_prompt_tokens,
)
from tests.builders import PROPERTY

features = st.dictionaries(st.sampled_from("abc"), st.floats(-1e3, 1e3, width=32))


@PROPERTY
@given(st.integers(0, 10**7), features, st.integers(0, 20))
def test_a_context_has_the_declared_dimension_and_is_finite(
    tokens: int, given_features: dict[str, float], embedded: int
) -> None:
    embedding = np.full(embedded, 0.5, dtype=np.float32)
    context = build_context(embedding, prompt_tokens=tokens, names=("a", "b", "c"), features=given_features)
    assert context.shape == (context_dimension(embedded, 3),)
    assert context.dtype == np.float32
    assert np.isfinite(context).all()


@PROPERTY
@given(features)
def test_features_stand_in_the_order_of_their_names_and_default_to_zero(given_features: dict[str, float]) -> None:
    context = build_context(np.zeros(0, np.float32), prompt_tokens=9, names=("c", "a"), features=given_features)
    assert context[2:].tolist() == [given_features.get("c", 0.0), given_features.get("a", 0.0)]


def test_the_intercept_is_first_and_the_embedding_last() -> None:
    context = build_context(np.array([7, 8], dtype=np.float32), prompt_tokens=9, names=("a",), features={"a": 5.0})
    assert (context[0], context[-2:].tolist()) == (1.0, [7.0, 8.0])


def test_usual_prompts_have_a_length_coordinate_within_two() -> None:
    lengths = [
        build_context(np.zeros(0, np.float32), prompt_tokens=t, names=(), features={})[1] for t in (20, 89, 1500)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] > -2
    assert lengths[1] == pytest.approx(0, abs=0.01)
    assert lengths[2] < 2


@PROPERTY
@given(st.text())
def test_the_bound_on_prompt_tokens_is_above_what_is_expected(text: str) -> None:
    size = len(text.encode())
    assert 1 <= expected_prompt_tokens(size) <= most_prompt_tokens(size) == size + TEMPLATE_TOKENS
