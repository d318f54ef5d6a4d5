from __future__ import annotations

import pytest
from hypothesis import given

from bandit_router.core.arm_codec import arm_rows, pack_arms, unpack_arms
from bandit_router.core.pool_state import PoolState
from tests.builders import PROPERTY
from tests.unit.core.test_pool_codec import assert_equal, make_state, states


@PROPERTY
@given(states)
def test_arms_are_restored_bit_for_bit_and_what_follows_is_left(state: PoolState) -> None:
    data = pack_arms(state.arms, state.dimension) + b"more"
    arms, rest = unpack_arms(arm_rows(state.arms), data, state.dimension)
    assert rest == b"more"
    expected = PoolState(state.dimension, state.arms)
    assert_equal(PoolState(state.dimension, arms), expected)


def test_too_few_numbers_are_refused() -> None:
    state = make_state(5, 3, ["a", "b"])
    with pytest.raises(ValueError, match="buffer"):
        unpack_arms(arm_rows(state.arms), pack_arms(state.arms, 3)[:-8], 3)
