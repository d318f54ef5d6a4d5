from __future__ import annotations

import numpy as np

from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState


def test_recency_is_stored_and_restored_exactly() -> None:
    state = PoolState(3)
    for number in range(5):
        x = np.array([1.0, number / 3.0, -0.1])
        state.recency.replace(f"arm{number % 2}", x, learned=7 * number, old=None, new=number / 7.0)
    found = decode_pool_state(encode_pool_state(state)).recency
    assert found.clock == state.recency.clock == 28
    for arm_id, sums in state.recency.arms.items():
        other = found.arms[arm_id]
        assert (other.weight, other.y) == (sums.weight, sums.y)
        assert np.array_equal(other.x, sums.x)


def test_a_state_without_rewards_is_written_as_one_that_knows_no_recency() -> None:
    assert b"recency" not in encode_pool_state(PoolState(3))
