from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.examples import Example, Examples
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState
from tests.builders import PROPERTY, generator
from tests.unit.core.test_pool_codec import assert_equal, make_state, states


@PROPERTY
@given(states, st.integers(1, 6), st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_remembered_examples_are_restored_bit_for_bit(
    state: PoolState, capacity: int, rewards: list[float | None]
) -> None:
    contexts = generator(len(rewards)).normal(size=(len(rewards), state.dimension)).astype(np.float32)
    state.examples = Examples(capacity)
    for number, (context, reward) in enumerate(zip(contexts, rewards, strict=True)):
        state.examples.put(Example(f"d{number}", "a", number, context, reward))
    restored = decode_pool_state(encode_pool_state(state))
    assert_equal(restored, state)
    assert restored.examples.capacity == capacity
    for mine, theirs in zip(restored.examples.all(), state.examples.all(), strict=True):
        assert (mine.decision_id, mine.arm_id, mine.decided_ms, mine.reward) == (
            theirs.decision_id,
            theirs.arm_id,
            theirs.decided_ms,
            theirs.reward,
        )
        assert (mine.context == theirs.context).all()


def test_a_pool_that_remembers_nothing_says_nothing_of_examples() -> None:
    assert b"examples" not in encode_pool_state(make_state(3, 4, ["a"]))
