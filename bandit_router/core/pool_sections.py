"""What a pool's state keeps beyond its sums, one named and versioned section each.

A kind of statistics that is new takes a field of `PoolState` (empty by default) and a line in `SECTIONS`. A state in
which it is empty is written as it was before, so old code reads it; a state that has it is refused by code that does
not know it, which would otherwise drop it with the next snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bandit_router.core.bills_codec import pack_bills, unpack_bills
from bandit_router.core.discounted_codec import pack_discounted, unpack_discounted
from bandit_router.core.examples_codec import pack_examples, unpack_examples
from bandit_router.core.pool_state import PoolState
from bandit_router.core.recent_codec import pack_recency, unpack_recency
from bandit_router.core.seats_codec import pack_tenants, unpack_tenants


@dataclass(frozen=True, slots=True)
class Section:
    """`pack` gives the bytes, or None if the state has nothing of the kind; `unpack` sets them in a decoded state.

    `version` is that of the bytes. `unpack` is given the version they were written in, never a newer one; it raises
    ValueError for bytes that make no sense.
    """

    name: str
    version: int
    pack: Callable[[PoolState], bytes | None]
    unpack: Callable[[PoolState, int, bytes], None]


SECTIONS: tuple[Section, ...] = (
    Section("examples", 1, pack_examples, unpack_examples),
    Section("recency", 1, pack_recency, unpack_recency),
    Section("bills", 1, pack_bills, unpack_bills),
    Section("tenants", 1, pack_tenants, unpack_tenants),
    Section("discounted", 1, pack_discounted, unpack_discounted),
)
