from __future__ import annotations

import pytest

from bandit_router.core.discounted import Discounted
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState
from tests.unit.core.test_discounted import GAMMA, D, told


def assert_equal(one: Discounted, other: Discounted) -> None:
    assert (one.gamma, one.clock, one.floor, one.past) == (other.gamma, other.clock, other.floor, other.past)
    assert list(one.arms) == list(other.arms)
    for mine, theirs in zip(one.arms.values(), other.arms.values(), strict=True):
        assert mine.weight == theirs.weight
        for name in ("gram", "moment", "square_gram"):
            assert (getattr(mine, name) == getattr(theirs, name)).all()


@pytest.mark.parametrize("tenants", [1, 3])
def test_discounted_sums_are_restored_bit_for_bit(tenants: int) -> None:
    state = PoolState(D)
    for number in range(7):
        told(state, number, number / 7, tenant_id=f"t{number % tenants}")
    state.discount(GAMMA)
    for number in range(7, 15):
        told(state, number, number / 15, tenant_id=f"t{number % tenants}")
    told(state, 16, 0.5, tenant_id="apart", isolated=True)
    restored = decode_pool_state(encode_pool_state(state))
    assert_equal(restored.discounted, state.discounted)
    for mine, theirs in zip(restored.tenants.seats, state.tenants.seats, strict=True):
        assert_equal(mine.book.discounted, theirs.book.discounted)
    assert encode_pool_state(restored) == encode_pool_state(state)


def test_sums_of_a_pool_that_tells_no_tenants_apart_are_restored() -> None:
    state = PoolState(D)
    state.discount(GAMMA)
    told(state, 1, 0.5, isolated=None)
    told(state, 2, 0.5, isolated=None)
    restored = decode_pool_state(encode_pool_state(state))
    assert_equal(restored.discounted, state.discounted)
    told(restored, 3, 0.5, isolated=None)
    assert restored.discounted.clock == 3


def test_a_state_that_keeps_no_discounted_sums_is_written_as_one_that_knows_none() -> None:
    state = PoolState(D)
    told(state, 1, 0.5)
    assert b'"discounted"' not in encode_pool_state(state)
    state.discount(GAMMA)
    assert b'"discounted"' in encode_pool_state(state)
    state.discount(0.0)
    assert b'"discounted"' not in encode_pool_state(state)
