from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.prior import ArmPrior
from bandit_router.core.spec import SpecError
from tests.builders import generator

DIMENSION = 3
PRIOR = ArmPrior(np.array([0.4, 0.3, -0.2]), 5.0 * np.eye(DIMENSION))


def taught(count: int) -> PoolState:
    source, arm = generator(4), ArmState.empty(DIMENSION)
    for x in np.column_stack([np.ones(count), source.normal(size=(count, 2))]):
        arm.reward.add(x, 0.7 - 0.1 * x[1])
    return PoolState(DIMENSION, arms={"a": arm})


def test_an_arm_starts_from_its_preference_prior() -> None:
    """A = λI and b = λθ: the paper's start, with λ the precision times the strength."""
    learner = parse_learner("pilot:strength=2")
    state = taught(20)
    sums = state.arms["a"].reward
    gram = 10.0 * np.eye(DIMENSION) + sums.gram
    theta = np.linalg.solve(gram, 10.0 * PRIOR.mean + sums.moment)
    contexts = generator(5).normal(size=(6, DIMENSION))
    found = build_model(state, ["a"], learner, {"a": PRIOR}).predict(contexts)
    assert found.reward[:, 0] == pytest.approx(contexts @ theta)
    expected = [np.sqrt(x @ np.linalg.solve(gram, x)) for x in contexts]
    assert found.deviation[:, 0] == pytest.approx(expected)


def test_an_arm_without_a_prior_is_learned_as_by_linucb() -> None:
    contexts = generator(5).normal(size=(6, DIMENSION))
    found = build_model(taught(20), ["a"], parse_learner("pilot"), {"b": PRIOR}).predict(contexts)
    plain = build_model(taught(20), ["a"], parse_learner("linucb")).predict(contexts)
    assert (found.reward == plain.reward).all()
    assert (found.deviation == plain.deviation).all()


def test_a_stronger_prior_is_left_later() -> None:
    x = np.array([[1.0, 1.0, 0.0]])
    weak, strong = (
        build_model(taught(30), ["a"], parse_learner(f"pilot:strength={nu}"), {"a": PRIOR}).predict(x).reward[0, 0]
        for nu in (0.1, 10.0)
    )
    assert abs(weak - 0.6) < abs(strong - 0.6)
    assert abs(strong - 0.7) < abs(weak - 0.7)


def test_the_literal_variant_scores_by_the_cosine_and_loses_the_level() -> None:
    prior = ArmPrior(np.array([0.9, 3.0, 4.0]), 1e9 * np.eye(DIMENSION))
    contexts = np.array([[1.0, 6.0, 8.0], [1.0, -8.0, 6.0], [1.0, 0.0, 0.0]])
    found = build_model(PoolState(DIMENSION), ["a"], parse_learner("pilot:cosine=1"), {"a": prior}).predict(contexts)
    assert found.reward[:, 0] == pytest.approx([1.0, 0.0, 0.0])
    assert found.deviation[:2, 0] == pytest.approx(1e9**-0.5)


@pytest.mark.parametrize("text", ["pilot:strength=0", "pilot:cosine=2", "pilot:cosine=0.5", "pilot:ridge=0"])
def test_a_pilot_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_learner(text)
