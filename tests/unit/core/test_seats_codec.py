from __future__ import annotations

import pytest

from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.seats import Seats
from tests.builders import make_decision, make_outcome
from tests.unit.core.test_pool_codec import assert_equal
from tests.unit.core.test_seats import full, tell


def book_of(seats: Seats, tenant_id: str, state: PoolState) -> PoolState:
    """A seat's book as the state of a pool, to be compared."""
    book = seats.by_tenant[tenant_id].book
    return PoolState(state.dimension, book.arms, recency=book.recency)


@pytest.mark.parametrize("extra", [-29, 0, 3])
def test_seats_are_restored_bit_for_bit(extra: int) -> None:
    state = full(extra)
    tell(state, "lone", 77, isolated=True)
    restored = decode_pool_state(encode_pool_state(state))
    assert_equal(restored, state)
    for mine, theirs in (
        (restored.tenants.sharing, state.tenants.sharing),
        (restored.tenants.isolated, state.tenants.isolated),
    ):
        assert mine.floor_ms == theirs.floor_ms
        assert list(mine.by_tenant) == list(theirs.by_tenant)
        for tenant_id, seat in mine.by_tenant.items():
            other = theirs.by_tenant[tenant_id]
            assert (seat.since_ms, seat.latest_ms) == (other.since_ms, other.latest_ms)
            assert_equal(book_of(mine, tenant_id, restored), book_of(theirs, tenant_id, state))
            assert seat.book.recency.clock == other.book.recency.clock
            assert {a: s.y for a, s in seat.book.recency.arms.items()} == {
                a: s.y for a, s in other.book.recency.arms.items()
            }


def test_a_pool_whose_records_name_no_sharing_says_nothing_of_tenants() -> None:
    state = PoolState(2)
    learn(state, make_decision(), make_outcome(), make_outcome(reward=1.0))
    assert b"tenants" not in encode_pool_state(state)
    tell(state, "acme", 5)
    assert b"tenants" in encode_pool_state(state)
