"""Links: one pipelined round trip of many commands to a single server (also behind Sentinel) or to a cluster.

The driver's pipelines cost more per command than the server does, so batches are packed by hiredis and read back
straight from a pooled connection; connecting, pooling, Sentinel and cluster topology stay the driver's.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 (the driver's name for it)
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 (the driver's name for it)
    TryAgainError,
)

from bandit_router.adapters.redis.scripts import Argument, Command
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.time_limit import TimeLimit

SCAN_PAGE = 1_000

Reply = Any
"""What a command answered, or the exception that it failed with."""

_UNAVAILABLE = (
    ConnectionError,
    TimeoutError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    MasterDownError,
    TryAgainError,
    RedisClusterException,
    OSError,
    asyncio.TimeoutError,
)
_UNAVAILABLE_CODES = ("BUSY", "LOADING", "MISCONF", "NOREPLICAS", "OOM", "UNBLOCKED")


class ServerAway(StoreUnavailable):
    """Nothing came back from the server at all: the connection was refused or lost, or the time was up."""


class Link(Protocol):
    """Sends batches. Never retries on its own."""

    def lane(self, command: Command) -> str:
        """Which server the command goes to: calls of one lane share batches, and the fate of their server."""
        ...

    async def send(self, commands: Sequence[Command], *, timeout_s: float) -> list[Reply]:
        """Replies in order; a command that failed has its exception there, StoreUnavailable if it may not have run."""
        ...

    async def scan(self, pattern: str) -> list[str]:
        """All keys that match. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class SingleLink:
    """A link to one server, or to whichever server Sentinel names as primary."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def lane(self, command: Command) -> str:  # noqa: ARG002 (there is one server)
        """See `Link.lane`."""
        return ""

    async def send(self, commands: Sequence[Command], *, timeout_s: float) -> list[Reply]:
        """See `Link.send`."""
        pool = self._client.connection_pool
        try:
            async with TimeLimit(timeout_s):
                connection = await pool.get_connection()  # type: ignore[no-untyped-call]
                try:
                    return await _exchange(connection, commands)
                finally:
                    await pool.release(connection)
        except (RedisError, *_UNAVAILABLE) as error:
            return _all_unavailable(commands, error, timeout_s)

    async def scan(self, pattern: str) -> list[str]:
        """See `Link.scan`."""
        return await _scan(self._client, pattern)

    async def close(self) -> None:
        """See `Link.close`."""
        await self._client.aclose()


class ClusterLink:
    """A link to Redis Cluster: one pipeline per node, side by side."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._refresh: asyncio.Task[None] | None = None

    def lane(self, command: Command) -> str:
        """See `Link.lane`."""
        owners = self._client.nodes_manager.slots_cache.get(_slot(command))
        return owners[0].name if owners else ""

    async def send(self, commands: Sequence[Command], *, timeout_s: float) -> list[Reply]:
        """See `Link.send`."""
        replies: list[Reply] = [None] * len(commands)
        try:
            async with TimeLimit(timeout_s):
                await self._client.initialize()
                groups = self._group(commands)
        except (RedisError, *_UNAVAILABLE) as error:
            return _all_unavailable(commands, error, timeout_s)
        await asyncio.gather(*(self._send_group(*group, commands, replies, timeout_s) for group in groups))
        await self._follow_redirections(commands, replies, timeout_s)
        return replies

    async def scan(self, pattern: str) -> list[str]:
        """See `Link.scan`."""
        return await _scan(self._client, pattern)

    async def close(self) -> None:
        """See `Link.close`."""
        if self._refresh is not None:
            self._refresh.cancel()
        await self._client.aclose()

    def _group(self, commands: Sequence[Command]) -> list[tuple[ClusterNode, list[int]]]:
        groups: dict[str, tuple[ClusterNode, list[int]]] = {}
        for index, command in enumerate(commands):
            node = self._client.nodes_manager.get_node_from_slot(_slot(command))
            groups.setdefault(node.name, (node, []))[1].append(index)
        return list(groups.values())

    async def _send_group(
        self,
        node: ClusterNode,
        indexes: list[int],
        commands: Sequence[Command],
        replies: list[Reply],
        timeout_s: float,
    ) -> None:
        part = [commands[index] for index in indexes]
        try:
            async with TimeLimit(timeout_s):
                connection = node.acquire_connection()
                try:
                    answers = await _exchange(connection, part)
                finally:
                    node.release(connection)
        except (RedisError, *_UNAVAILABLE) as error:
            answers = _all_unavailable(part, error, timeout_s)
            self._look_for_changes(node)
        for index, answer in zip(indexes, answers, strict=True):
            replies[index] = answer

    def _look_for_changes(self, lost: ClusterNode) -> None:
        """Read the topology again, beside the calls: another node may have taken over."""
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._read_topology(lost))

    async def _read_topology(self, lost: ClusterNode) -> None:
        with contextlib.suppress(RedisError, *_UNAVAILABLE):
            await self._client.nodes_manager.initialize(last_failed_node_name=lost.name)

    async def _follow_redirections(self, commands: Sequence[Command], replies: list[Reply], timeout_s: float) -> None:
        """Send commands that have met a moved slot again, one by one, as the driver finds its way."""
        for index, reply in enumerate(replies):
            if not isinstance(reply, MovedError | AskError):
                continue
            try:
                async with TimeLimit(timeout_s):
                    replies[index] = await self._client.execute_command(*commands[index].args)
            except (RedisError, *_UNAVAILABLE) as error:
                replies[index] = as_store_error(error)


async def send_scripts(link: Link, commands: Sequence[Command], *, timeout_s: float) -> list[Reply]:
    """Send commands; scripts that the server does not know (it was restarted or replaced) are sent with their text."""
    replies = await link.send(commands, timeout_s=timeout_s)
    unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        again = await link.send([commands[index].with_source() for index in unknown], timeout_s=timeout_s)
        for index, reply in zip(unknown, again, strict=True):
            replies[index] = reply
    return replies


def as_store_error(error: Exception) -> Exception:
    """StoreUnavailable for everything that a retry may cure; other errors (bugs) as they are."""
    if isinstance(error, _UNAVAILABLE) or str(error).startswith(_UNAVAILABLE_CODES):
        return _unavailable(error)
    return error


async def _scan(client: Redis | RedisCluster, pattern: str) -> list[str]:
    try:
        return sorted({name.decode() async for name in client.scan_iter(match=pattern, count=SCAN_PAGE)})
    except (RedisError, *_UNAVAILABLE) as error:
        raise as_store_error(error) from error


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
    packed = b"".join(_pack(command.args) for command in commands)
    await connection.send_packed_command([packed], check_health=False)
    return [await _read(connection) for _ in commands]


async def _read(connection: AbstractConnection) -> Reply:
    """One reply. The batch as a whole has a time limit: a timer per reply would cost more than the reply."""
    try:
        return await connection.read_response(timeout=math.inf)
    except (NoScriptError, MovedError, AskError) as error:
        return error
    except ResponseError as error:
        return as_store_error(error)


def _pack(args: tuple[Argument, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type]  # the stub means tuples of any length
    return packed


def _slot(command: Command) -> int:
    return key_slot(command.key.encode())


def _all_unavailable(commands: Sequence[Command], error: Exception, timeout_s: float) -> list[Reply]:
    if isinstance(error, asyncio.TimeoutError):
        error = TimeoutError(f"no answer within {timeout_s:g} s")
    return [ServerAway(f"{error}" or type(error).__name__)] * len(commands)


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"{error}" or type(error).__name__)
