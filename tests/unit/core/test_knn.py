from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.examples import Example, Examples
from bandit_router.core.learners.registry import parse_learner, remembered_by
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.spec import SpecError
from tests.builders import generator

DIMENSION = 4


def pool(rewards: dict[str, list[float]], seed: int = 1) -> tuple[PoolState, dict[str, np.ndarray]]:
    """A pool with these rewards at random contexts, and the contexts by arm."""
    source, examples, contexts = generator(seed), Examples(10_000), {}
    for arm_id, values in rewards.items():
        contexts[arm_id] = source.normal(size=(len(values), DIMENSION)).astype(np.float32)
        for number, (x, value) in enumerate(zip(contexts[arm_id], values, strict=True)):
            examples.put(Example(f"{arm_id}{number}", arm_id, number, x, value))
    return PoolState(DIMENSION, examples=examples), contexts


def test_an_arm_is_predicted_by_the_nearest_of_its_own_examples() -> None:
    """Written out: sort by the angle without the intercept, average the first k with the prior."""
    values = generator(7).uniform(size=60).tolist()
    state, contexts = pool({"a": values, "b": [0.0] * 5})
    found = build_model(state, ["a"], parse_learner("knn:k=7,weight=2,level=0.5")).predict(np.eye(DIMENSION)[1:])
    for row, asked in enumerate(np.eye(DIMENSION)[1:, 1:]):
        slopes = contexts["a"][:, 1:].astype(np.float64)
        angles = slopes @ asked / np.linalg.norm(slopes, axis=1)
        nearest = np.argsort(-angles)[:7]
        expected = (2 * 0.5 + sum(values[index] for index in nearest)) / (2 + 7)
        assert found.reward[row, 0] == pytest.approx(expected)
    assert found.deviation == pytest.approx((2 + 7) ** -0.5)


def test_an_arm_with_fewer_examples_uses_them_all() -> None:
    state, _ = pool({"a": [0.2, 0.4]})
    found = build_model(state, ["a", "new"], parse_learner("knn:level=0.8")).predict(np.ones((3, DIMENSION)))
    assert found.reward == pytest.approx(np.tile([(0.8 + 0.2 + 0.4) / 3, 0.8], (3, 1)))
    assert found.deviation == pytest.approx(np.tile([3**-0.5, 1.0], (3, 1)))


def test_a_retracted_reward_is_no_example() -> None:
    state, _ = pool({"a": [0.2, 0.4]})
    state.examples.put(Example("a0", "a", 0, np.ones(DIMENSION, np.float32), None))
    found = build_model(state, ["a"], parse_learner("knn:level=0.8")).predict(np.ones((1, DIMENSION)))
    assert found.reward[0, 0] == pytest.approx((0.8 + 0.4) / 2)


def test_the_buffer_is_what_the_pool_must_remember() -> None:
    assert remembered_by(parse_learner("knn:buffer=50")) == 50
    assert remembered_by(parse_learner("linucb")) == 0


@pytest.mark.parametrize(
    "text", ["knn:k=0", "knn:k=1.5", "knn:buffer=0", "knn:buffer=10001", "knn:weight=0", "knn:alpha=-1"]
)
def test_neighbours_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_learner(text)
