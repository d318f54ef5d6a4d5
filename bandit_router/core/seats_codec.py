"""Bytes of what a pool's tenants have taught, for the section of its state that holds them.

Layout: header length (4 bytes), JSON header with the floors and a row per seat, then the numbers of the seats' arms, in
the order of the rows, and their latest rewards' (`core.arm_codec`, `core.recent_codec`).
"""

from __future__ import annotations

import json
import struct
from typing import Any

from bandit_router.core.arm_codec import arm_rows, pack_arms, unpack_arms
from bandit_router.core.pool_state import PoolState
from bandit_router.core.recent_codec import recency_bytes, recency_from
from bandit_router.core.seats import Book, Seat, Seats, Tenants


def pack_tenants(state: PoolState) -> bytes | None:
    """The seats of a state, or None if it tells no tenants apart."""
    tenants = state.tenants
    if not tenants.are_told_apart:
        return None
    kinds = [tenants.sharing, tenants.isolated]
    header = json.dumps([_rows(seats) for seats in kinds], separators=(",", ":")).encode()
    books = [seat.book for seats in kinds for seat in seats.by_tenant.values()]
    numbers = [data for book in books for data in (pack_arms(book.arms, state.dimension), recency_bytes(book.recency))]
    return b"".join([struct.pack("<I", len(header)), header, *numbers])


def unpack_tenants(state: PoolState, version: int, data: bytes) -> None:
    """Set the seats of a state from what `pack_tenants` has made. Raises ValueError."""
    assert version == 1, version
    (header_bytes,) = struct.unpack("<I", data[:4])
    sharing, isolated = json.loads(data[4 : 4 + header_bytes])
    rest = data[4 + header_bytes :]
    shared, rest = _seats(sharing, rest, state.dimension)
    apart, _ = _seats(isolated, rest, state.dimension)
    state.tenants = Tenants(shared, apart)


def _rows(seats: Seats) -> dict[str, Any]:
    rows = [
        [tenant_id, seat.since_ms, seat.latest_ms, arm_rows(seat.book.arms)]
        for tenant_id, seat in seats.by_tenant.items()
    ]
    return {"floor": seats.floor_ms, "seats": rows}


def _seats(header: dict[str, Any], data: bytes, dimension: int) -> tuple[Seats, bytes]:
    by_tenant = {}
    for tenant_id, since_ms, latest_ms, rows in header["seats"]:
        arms, data = unpack_arms(rows, data, dimension)
        recency, data = recency_from(data, dimension)
        by_tenant[tenant_id] = Seat(since_ms, latest_ms, Book(arms, recency))
    return Seats(by_tenant, header["floor"]), data
