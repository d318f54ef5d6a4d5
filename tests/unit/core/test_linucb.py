from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from tests.builders import generator

DIMENSION = 4


def test_predictions_are_those_of_a_ridge_regression_per_arm() -> None:
    source, arm = generator(2), ArmState.empty(DIMENSION)
    xs = source.normal(size=(30, DIMENSION))
    ys = source.uniform(size=30)
    for x, y in zip(xs, ys, strict=True):
        arm.reward.add(x, y)
    model = build_model(PoolState(DIMENSION, arms={"a": arm}), ["a"], parse_learner("linucb:level=0.4,bias=2,ridge=3"))
    precision = np.diag([2.0, 3.0, 3.0, 3.0]) + xs.T @ xs
    theta = np.linalg.solve(precision, 2.0 * 0.4 * np.eye(DIMENSION)[0] + xs.T @ ys)
    found = model.predict(xs)
    assert found.reward[:, 0] == pytest.approx(xs @ theta)
    assert np.square(found.deviation[:, 0]) == pytest.approx([x @ np.linalg.solve(precision, x) for x in xs])


def test_alpha_is_the_optimism() -> None:
    assert build_model(PoolState(DIMENSION), ["a"], parse_learner("linucb:alpha=0.7")).alpha == 0.7
