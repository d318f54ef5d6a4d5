"""Snapshots and leases in memory."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.ports.clock import Clock
from bandit_router.ports.snapshots import Snapshot


@dataclass(slots=True)
class _Lease:
    owner: str = ""
    expires_ms: int = 0
    token: int = 0


class MemorySnapshots:
    """Implements `SnapshotStore`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._snapshots: dict[str, Snapshot] = {}

    async def acquire(self, pool_id: str, owner: str, ttl_ms: int) -> int | None:
        """See `SnapshotStore.acquire`."""
        lease = self._leases.setdefault(pool_id, _Lease())
        now_ms = self._clock.now_ms()
        stands = bool(lease.owner) and lease.expires_ms > now_ms
        if stands and lease.owner != owner:
            return None
        if not stands:
            lease.token += 1
        lease.owner, lease.expires_ms = owner, now_ms + ttl_ms
        return lease.token

    async def release(self, pool_id: str, owner: str) -> None:
        """See `SnapshotStore.release`."""
        lease = self._leases.get(pool_id)
        if lease is not None and lease.owner == owner:
            lease.owner = ""

    async def save(self, pool_id: str, token: int, snapshot: Snapshot) -> bool:
        """See `SnapshotStore.save`."""
        lease = self._leases.get(pool_id)
        if lease is None or lease.token != token:
            return False
        stored = self._snapshots.get(pool_id)
        if stored is not None and stored.version >= snapshot.version:
            return False
        self._snapshots[pool_id] = snapshot
        return True

    async def load(self, pool_id: str, newer_than: int) -> Snapshot | None:
        """See `SnapshotStore.load`."""
        stored = self._snapshots.get(pool_id)
        return stored if stored is not None and stored.version > newer_than else None

    async def delete(self, pool_id: str) -> None:
        """See `SnapshotStore.delete`."""
        self._snapshots.pop(pool_id, None)
