from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.learners.linear import LinearRewards
from tests.builders import PROPERTY, generator


def make_rewards(seed: int, *, arms: int, dimension: int) -> LinearRewards:
    source = generator(seed)
    roots = source.normal(size=(arms, dimension, dimension))
    return LinearRewards(source.normal(size=(arms, dimension)), roots @ roots.swapaxes(1, 2))


shapes = st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6))


@PROPERTY
@given(shapes)
def test_expectations_and_deviations_are_those_of_the_formula(shape: tuple[int, int, int]) -> None:
    seed, arms, dimension = shape
    rewards, contexts = (
        make_rewards(seed, arms=arms, dimension=dimension),
        generator(seed + 1).normal(size=(5, dimension)),
    )
    expected, deviations = rewards.predict(contexts)
    for row, x in enumerate(contexts):
        assert expected[row] == pytest.approx([mean @ x for mean in rewards.mean])
        assert deviations[row] == pytest.approx([np.sqrt(x @ covariance @ x) for covariance in rewards.covariance])


@PROPERTY
@given(shapes)
def test_one_context_alone_is_predicted_as_among_many(shape: tuple[int, int, int]) -> None:
    seed, arms, dimension = shape
    rewards, contexts = (
        make_rewards(seed, arms=arms, dimension=dimension),
        generator(seed + 1).normal(size=(5, dimension)),
    )
    many = rewards.predict(contexts)
    for row, x in enumerate(contexts):
        expected, deviations = rewards.predict_one(x)
        assert expected == pytest.approx(many[0][row].tolist())
        assert deviations == pytest.approx(many[1][row].tolist())


def test_a_variance_that_rounding_made_negative_is_none() -> None:
    rewards = LinearRewards(np.zeros((1, 2)), np.array([[[-1e-18, 0.0], [0.0, 0.0]]]))
    assert rewards.predict_one(np.array([1.0, 0.0])) == ([0.0], [0.0])
    assert rewards.predict(np.array([[1.0, 0.0]]))[1].tolist() == [[0.0]]
