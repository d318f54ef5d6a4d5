"""All stores on one Redis or Valkey: standalone, behind Sentinel, or a cluster."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bandit_router.adapters.redis.archive import RedisArchive
from bandit_router.adapters.redis.catalog import RedisCatalog
from bandit_router.adapters.redis.client import BULK_TIMEOUT_FACTOR, Client
from bandit_router.adapters.redis.events import RedisEventLog
from bandit_router.adapters.redis.ledger import RedisLedger
from bandit_router.adapters.redis.link import ClusterLink, Link, SingleLink
from bandit_router.adapters.redis.scripts import plain
from bandit_router.adapters.redis.snapshots import RedisSnapshots
from bandit_router.ports.ledger import StoreUnavailable

DEFAULT_TIMEOUT_S = 0.5
DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

_PING_KEY = "{catalog}:schema"


class RedisStore:
    """The four stores on one link, and their archive. Belongs to one event loop."""

    def __init__(self, link: Link, *, timeout_s: float) -> None:
        self._client = Client(link, timeout_s=timeout_s)
        self.ledger = RedisLedger(self._client)
        self.events = RedisEventLog(self._client)
        self.snapshots = RedisSnapshots(self._client)
        self.catalog = RedisCatalog(self._client)
        self.archive = RedisArchive(self._client)

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers in time. In a cluster the catalog's node is asked."""
        await self._client.call(plain("EXISTS", _PING_KEY))

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._client.close()


def connect(url: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> RedisStore:
    """The store at `url`; connections are made when first needed. No call outlasts `timeout_s` (bulky ones ten times).

    redis://[user:password@]host:port/db, rediss:// (TLS), unix:///path?db=0,
    redis+sentinel://[user:password@]host:port,host:port/service[/db], redis+cluster://[user:password@]host:port,...
    The last two take rediss+ for TLS; driver options such as ssl_ca_certs go in the query; sentinel_username and
    sentinel_password are sent to the sentinels. Raises ValueError for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"store URL must start with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    return RedisStore(_link(parts, url, timeout_s), timeout_s=timeout_s)


def _link(parts: SplitResult, url: str, timeout_s: float) -> Link:
    if parts.scheme.endswith("+sentinel"):
        return SingleLink(_sentinel_client(parts, timeout_s))
    if parts.scheme.endswith("+cluster"):
        return ClusterLink(_cluster_client(parts, timeout_s))
    return SingleLink(Redis.from_url(url, **_options(timeout_s)))


def _options(timeout_s: float) -> dict[str, Any]:
    """Time-outs and retries are the callers' business: the driver's own (5 s, 10 retries) would outlast them."""
    return {
        "socket_timeout": timeout_s * BULK_TIMEOUT_FACTOR,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
    }


def _sentinel_client(parts: SplitResult, timeout_s: float) -> Redis:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel URL names its service: redis+sentinel://host:port/service")
    query = parse_qs(parts.query)
    credentials = {
        name: query[f"sentinel_{name}"][0] for name in ("username", "password") if f"sentinel_{name}" in query
    }
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        _hosts(parts, DEFAULT_SENTINEL_PORT),
        sentinel_kwargs={**_options(timeout_s), **credentials},
        **_options(timeout_s),
    )
    master: Redis = sentinel.master_for(service, db=int(db or 0), **_driver_options(parts))
    return master


def _cluster_client(parts: SplitResult, timeout_s: float) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, DEFAULT_PORT)]
    return RedisCluster(startup_nodes=nodes, **_options(timeout_s), **_driver_options(parts))


def _driver_options(parts: SplitResult) -> dict[str, Any]:
    """Credentials, TLS and query options, read as the driver reads them from its own URLs."""
    scheme = parts.scheme.partition("+")[0]
    userinfo = parts.netloc.rpartition("@")[0]
    options: dict[str, Any] = dict(parse_url(f"{scheme}://{userinfo}@host/?{parts.query}"))
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return {k: v for k, v in options.items() if k not in ("host", "port") and not k.startswith("sentinel_")}


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    listed = parts.netloc.rpartition("@")[2].split(",")
    if not all(listed):
        raise ValueError(f"store URL lists no hosts: {parts.scheme}://{parts.netloc}")
    return [_host(text, default_port) for text in listed]


def _host(text: str, default_port: int) -> tuple[str, int]:
    split = urlsplit(f"//{text}")
    return split.hostname or "", split.port or default_port


__all__ = ["RedisStore", "StoreUnavailable", "connect"]
