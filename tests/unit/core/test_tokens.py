from __future__ import annotations

import math

import numpy as np
import pytest

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.tokens import PRIOR_OUTPUT_TOKENS, fit_tokens
from tests.builders import generator

DIMENSION = 3


def test_an_arm_without_history_is_expected_to_answer_at_the_prior_length() -> None:
    model = fit_tokens(PoolState(DIMENSION), ["a"])
    assert model.predict(np.eye(DIMENSION)[:1])[0, 0] == pytest.approx(math.log(PRIOR_OUTPUT_TOKENS))


def test_an_arm_without_history_lengthens_with_the_query_as_the_others_do() -> None:
    source, arm = generator(1), ArmState.empty(DIMENSION)
    for x in source.normal(size=(300, DIMENSION)):
        x[0] = 1.0
        arm.tokens.add(x, 5.0 + 0.7 * x[1])
    model = fit_tokens(PoolState(DIMENSION, arms={"known": arm}), ["new", "known"])
    assert model.mean[0, 1] == pytest.approx(0.7, abs=0.02)
    assert model.mean[1] == pytest.approx([5.0, 0.7, 0.0], abs=0.02)


def test_the_mean_of_a_skewed_length_lies_above_its_median() -> None:
    predictions = build_model(PoolState(DIMENSION), ["a"], parse_learner("linucb")).predict(np.eye(DIMENSION)[:1])
    assert predictions.output_tokens(np.array([1e7]))[0, 0] > PRIOR_OUTPUT_TOKENS
