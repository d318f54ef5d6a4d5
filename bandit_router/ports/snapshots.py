"""Learned state of pools, and the lease that lets one learner at a time write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Encoded pool state at a version."""

    version: int
    state: bytes


class SnapshotStore(Protocol):
    """Snapshots and their learner's lease, per pool."""

    async def acquire(self, pool_id: str, owner: str, ttl_ms: int) -> int | None:
        """Take or renew the lease: its fencing token, or None while another owner has it.

        The token grows with every change of owner and stays the same on renewal.
        """
        ...

    async def release(self, pool_id: str, owner: str) -> None:
        """Give the lease up, if `owner` has it."""
        ...

    async def save(self, pool_id: str, token: int, snapshot: Snapshot) -> bool:
        """Store a newer snapshot; False (nothing stored) if `token` has been superseded or the version is not newer."""
        ...

    async def load(self, pool_id: str, newer_than: int) -> Snapshot | None:
        """The stored snapshot if its version exceeds `newer_than`."""
        ...

    async def delete(self, pool_id: str) -> None:
        """Forget a pool's snapshot."""
        ...
