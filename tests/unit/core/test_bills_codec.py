from __future__ import annotations

from bandit_router.core.bills import BillSums
from bandit_router.core.bills_codec import pack_bills, unpack_bills
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState

SUMS = BillSums(count=3, weight=2**70, square_weight=5, billed=10**40, estimated=7, spent_nusd=9)


def test_bill_sums_come_back_from_their_bytes_to_the_last_digit() -> None:
    state, restored = PoolState(4, bills={"a": SUMS}), PoolState(4)
    data = pack_bills(state)
    assert data is not None
    unpack_bills(restored, 1, data)
    assert restored.bills == {"a": SUMS}


def test_a_pools_state_carries_its_bill_sums() -> None:
    assert decode_pool_state(encode_pool_state(PoolState(4, bills={"a": SUMS}))).bills == {"a": SUMS}


def test_nothing_is_written_where_nothing_was_billed() -> None:
    assert pack_bills(PoolState(4, bills={"b": BillSums()})) is None
