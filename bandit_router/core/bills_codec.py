"""Bytes of a pool's bill sums, for the section of its state that holds them: JSON, a row of integers per arm."""

from __future__ import annotations

import json
from dataclasses import astuple

from bandit_router.core.bills import BillSums
from bandit_router.core.pool_state import PoolState


def pack_bills(state: PoolState) -> bytes | None:
    """The bill sums of a state, or None if nothing was ever billed."""
    rows = {arm_id: astuple(sums) for arm_id, sums in state.bills.items() if sums != BillSums()}
    return json.dumps(rows, separators=(",", ":")).encode() if rows else None


def unpack_bills(state: PoolState, version: int, data: bytes) -> None:
    """Set the bill sums of a state from what `pack_bills` has made. Raises ValueError."""
    assert version == 1, version
    state.bills = {arm_id: BillSums(*row) for arm_id, row in json.loads(data).items()}
