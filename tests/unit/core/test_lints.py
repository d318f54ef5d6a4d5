from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.spec import SpecError
from tests.builders import generator

CONTEXTS = np.column_stack([np.ones(5), generator(1).normal(size=5)])


def noisy(sd: float) -> PoolState:
    source, arm = generator(2), ArmState.empty(2)
    for x in np.column_stack([np.ones(4000), source.normal(size=4000)]):
        arm.reward.add(x, 0.5 + sd * source.normal())
    return PoolState(2, arms={"a": arm})


@pytest.mark.parametrize("sd", [0.05, 0.4])
def test_deviations_are_posterior_standard_deviations_in_units_of_reward(sd: float) -> None:
    found = build_model(noisy(sd), ["a"], parse_learner("lints")).predict(CONTEXTS)
    plain = build_model(noisy(sd), ["a"], parse_learner("linucb")).predict(CONTEXTS)
    assert found.deviation == pytest.approx(sd * plain.deviation, rel=0.05)
    assert (found.reward == plain.reward).all()


def test_v_widens_the_posterior_and_there_is_no_optimism() -> None:
    once, twice = (build_model(noisy(0.1), ["a"], parse_learner(f"lints:v={v}")) for v in (1, 2))
    assert twice.predict(CONTEXTS).deviation == pytest.approx(2.0 * once.predict(CONTEXTS).deviation)
    assert once.alpha == 0.0


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(SpecError, match="lints:v"):
        parse_learner("lints:v=-1")
