"""connect: which URLs there are, and that the ones for Sentinel and clusters keep their credentials."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection

from bandit_router.adapters.redis import connect


def link_of(url):
    return connect(url, 0.5)._client._link


@pytest.mark.parametrize("url", ["http://x", "localhost:6379", "", "redis+cluster://", "redis+sentinel://a,,b/main"])
def test_other_urls_are_refused(url):
    with pytest.raises(ValueError, match="store URL"):
        connect(url)


def test_a_sentinel_url_needs_a_service():
    with pytest.raises(ValueError, match="service"):
        connect("redis+sentinel://a:1,b:2")


def test_the_driver_neither_retries_nor_waits_longer_than_told():
    options = link_of("redis://localhost")._client.connection_pool.connection_kwargs
    assert options["retry"].get_retries() == 0
    assert options["socket_connect_timeout"] == 0.5


def test_tls_is_spoken_when_asked_for():
    pool = link_of("rediss://user:pw@host:7000/2?ssl_ca_certs=/ca.pem")._client.connection_pool
    assert pool.connection_class is SSLConnection
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


def test_a_sentinel_url_gives_hosts_service_database_and_credentials():
    url = "rediss+sentinel://u:p%40ss@a:1,b,[::1]:3/main/2?sentinel_password=sp"
    pool = link_of(url)._client.connection_pool
    sentinels = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]
    assert [(s["host"], s["port"], s["password"]) for s in sentinels] == [
        ("a", 1, "sp"),
        ("b", 26379, "sp"),
        ("::1", 3, "sp"),
    ]
    options = pool.connection_kwargs
    assert (pool.service_name, options["db"], options["username"], options["password"]) == ("main", 2, "u", "p@ss")
    assert pool.connection_class is SentinelManagedSSLConnection


def test_a_cluster_url_gives_nodes_and_credentials():
    client = link_of("redis+cluster://u:pw@a:1,b:2")._client
    assert sorted(client.nodes_manager.startup_nodes) == ["a:1", "b:2"]
    assert (client.connection_kwargs["username"], client.connection_kwargs["password"]) == ("u", "pw")
