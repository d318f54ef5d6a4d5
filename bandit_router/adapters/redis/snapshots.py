"""Snapshots and leases in Redis."""

from __future__ import annotations

from bandit_router.adapters.redis import keys, scripts
from bandit_router.adapters.redis.client import Client
from bandit_router.adapters.redis.scripts import plain
from bandit_router.ports.snapshots import Snapshot


class RedisSnapshots:
    """Implements `SnapshotStore`. A lease runs on the server's clock."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def acquire(self, pool_id: str, owner: str, ttl_ms: int) -> int | None:
        """See `SnapshotStore.acquire`."""
        command = scripts.LEASE_ACQUIRE.on([keys.lease(pool_id), keys.fence(pool_id)], owner, ttl_ms)
        token: int | None = await self._client.call(command)
        return token

    async def release(self, pool_id: str, owner: str) -> None:
        """See `SnapshotStore.release`."""
        await self._client.call(scripts.LEASE_RELEASE.on([keys.lease(pool_id)], owner))

    async def save(self, pool_id: str, token: int, snapshot: Snapshot) -> bool:
        """See `SnapshotStore.save`."""
        names = [keys.fence(pool_id), keys.snapshot(pool_id)]
        command = scripts.SNAPSHOT_SAVE.on(names, token, snapshot.version, snapshot.state)
        [stored] = await self._client.bulk([command])
        return bool(stored)

    async def load(self, pool_id: str, newer_than: int) -> Snapshot | None:
        """See `SnapshotStore.load`. Costs a tiny round trip when there is nothing newer."""
        key = keys.snapshot(pool_id)
        version = await self._client.call(plain("HGET", key, "version"))
        if version is None or int(version) <= newer_than:
            return None
        [[version, state]] = await self._client.bulk([plain("HMGET", key, "version", "state")])
        if version is None or int(version) <= newer_than:
            return None
        return Snapshot(int(version), state)

    async def delete(self, pool_id: str) -> None:
        """See `SnapshotStore.delete`. The fence stays, so that no old token comes to life again."""
        await self._client.call(plain("DEL", keys.snapshot(pool_id)))
