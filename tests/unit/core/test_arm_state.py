from __future__ import annotations

import numpy as np

from bandit_router.core.arm_state import ArmState, copy_arms


def test_copies_of_arms_are_independent() -> None:
    arms = {"a": ArmState.empty(2)}
    twins = copy_arms(arms)
    twins["a"].reward.add(np.ones(2), 0.5)
    twins["a"].tokens.add(np.ones(2), 5.0)
    twins["b"] = ArmState.empty(2)
    assert (list(arms), arms["a"].reward.count, arms["a"].tokens.count) == (["a"], 0, 0)
    assert not arms["a"].reward.gram.any()
