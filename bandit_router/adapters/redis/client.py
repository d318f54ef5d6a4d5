"""What the stores send their commands through: small calls in groups, bulky ones on connections of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bandit_router.adapters.redis.group_commit import GroupCommit
from bandit_router.adapters.redis.link import Link, Reply, send_scripts
from bandit_router.adapters.redis.scripts import Command

MAX_BULK_IN_FLIGHT = 8
"""Bulky exchanges side by side; further ones wait."""

BULK_TIMEOUT_FACTOR = 10
"""How much longer a bulky exchange (events, snapshots) may take than a call that a caller waits for."""


class Client:
    """A link, with a group commit per server behind it: one that hangs does not hold up calls to the others."""

    def __init__(self, link: Link, *, timeout_s: float) -> None:
        self._link = link
        self._groups: dict[str, GroupCommit] = {}
        self._timeout_s = timeout_s
        self._bulk_timeout_s = timeout_s * BULK_TIMEOUT_FACTOR
        self._bulk = asyncio.Semaphore(MAX_BULK_IN_FLIGHT)

    async def call(self, command: Command) -> Reply:
        """Reply of a small command, batched with whatever else is waiting. Raises StoreUnavailable."""
        lane = self._link.lane(command)
        group = self._groups.get(lane)
        if group is None:
            group = self._groups[lane] = GroupCommit(self._link, timeout_s=self._timeout_s)
        return await group.call(command)

    async def bulk(self, commands: Sequence[Command]) -> list[Reply]:
        """Replies of commands that carry or fetch a lot, in one round trip. Raises StoreUnavailable."""
        async with self._bulk:
            replies = await send_scripts(self._link, commands, timeout_s=self._bulk_timeout_s)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def scan(self, pattern: str = "*") -> list[str]:
        """All keys that match, on all servers; those that come and go meanwhile may be missing. Raises
        StoreUnavailable."""
        return await self._link.scan(pattern)

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        for group in self._groups.values():
            await group.close()
        await self._link.close()
