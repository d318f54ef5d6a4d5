from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.arm_state import ArmState
from bandit_router.core.pool_codec import CorruptState, decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import RegressionSums
from tests.builders import PROPERTY, generator


def make_state(seed: int, dimension: int, arm_ids: list[str]) -> PoolState:
    source = generator(seed)

    def sums() -> RegressionSums:
        found = RegressionSums.zeros(dimension)
        for _ in range(3):
            found.add(source.normal(size=dimension), float(source.normal()))
        return found

    return PoolState(
        dimension=dimension,
        arms={arm_id: ArmState(sums(), sums(), settled=int(source.integers(100))) for arm_id in arm_ids},
        positions={index: f"{index}-{seed}" for index in range(seed % 4)},
        version=seed,
        events=2 * seed,
        projection_version=seed % 3,
    )


states = st.builds(
    make_state, st.integers(0, 10**6), st.integers(1, 8), st.lists(st.text(min_size=1), max_size=4, unique=True)
)


def assert_equal(one: PoolState, other: PoolState) -> None:
    for name in ("dimension", "positions", "version", "events", "projection_version"):
        assert getattr(one, name) == getattr(other, name)
    assert list(one.arms) == list(other.arms)
    for mine, theirs in zip(one.arms.values(), other.arms.values(), strict=True):
        assert mine.settled == theirs.settled
        for sums, expected in ((mine.reward, theirs.reward), (mine.tokens, theirs.tokens)):
            assert (sums.gram == expected.gram).all()
            assert (sums.moment == expected.moment).all()
            assert (sums.square, sums.count) == (expected.square, expected.count)


@PROPERTY
@given(states)
def test_a_state_is_restored_bit_for_bit(state: PoolState) -> None:
    assert_equal(decode_pool_state(encode_pool_state(state)), state)


@PROPERTY
@given(states)
def test_a_restored_state_can_be_learned_into(state: PoolState) -> None:
    restored = decode_pool_state(encode_pool_state(state))
    for arm in restored.arms.values():
        arm.reward.add(np.ones(state.dimension), 1.0)
        arm.tokens.add(np.ones(state.dimension), 1.0)


def test_every_flipped_byte_is_noticed() -> None:
    data = encode_pool_state(make_state(5, 2, ["a", "b"]))
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 1 << (index % 8)
        with pytest.raises(CorruptState):
            decode_pool_state(bytes(flipped))


def test_every_truncation_is_noticed() -> None:
    data = encode_pool_state(make_state(5, 2, ["a"]))
    for length in range(len(data)):
        with pytest.raises(CorruptState):
            decode_pool_state(data[:length])


def test_bytes_behind_the_end_are_noticed() -> None:
    with pytest.raises(CorruptState):
        decode_pool_state(encode_pool_state(make_state(5, 2, ["a"])) + b"\0")
