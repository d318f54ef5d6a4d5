"""The table of store backends that the contract tests run on, and the servers behind them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.adapters.redis import RedisStore, connect
from bandit_router.adapters.system import EmbeddedServer, SystemClock

Store = MemoryStore | RedisStore
WAIT_LIMIT_S = 10.0
STORE_TIMEOUT_S = 5.0
BACKENDS = ("memory", "valkey", "redis")


@dataclass
class Backend:
    """A store under test, its clock, and how to make its time pass and to reach it from a second replica."""

    name: str
    store: Store
    clock: ManualClock | SystemClock
    url: str = ""
    opened: list[RedisStore] = field(default_factory=list)

    def another(self) -> Store:
        """The same store as another replica sees it."""
        if isinstance(self.store, MemoryStore):
            return self.store
        self.opened.append(connect(self.url, STORE_TIMEOUT_S))
        return self.opened[-1]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> object:
        """Let time pass until `condition` gives something true."""
        limit = time.monotonic() + WAIT_LIMIT_S
        while time.monotonic() < limit:
            if (found := await condition()) is not None and found is not False:
                return found
            if isinstance(self.clock, ManualClock):
                self.clock.jump(0.01)
            else:
                await self.clock.sleep(0.01)
        raise AssertionError("the condition did not come true in time")


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey, started as the product starts it."""
    with EmbeddedServer.start(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The distribution's Redis, over TCP."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    yield from run_redis(binary, tmp_path_factory.mktemp("redis"))


def run_redis(binary: str, data_dir: Path) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [
            binary,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(data_dir),
            "--save",
            "",
            "--appendonly",
            "yes",
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_server(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(WAIT_LIMIT_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for_server(port: int) -> None:
    limit = time.monotonic() + WAIT_LIMIT_S
    while True:
        try:
            redis.Redis(port=port).ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """An empty store of each kind."""
    name = request.param
    if name == "memory":
        clock = ManualClock()
        yield Backend(name, MemoryStore(clock), clock)
        return
    url = request.getfixturevalue(f"{name}_url")
    flush(url)
    backend = Backend(name, connect(url, STORE_TIMEOUT_S), SystemClock(), url)
    yield backend
    for store in (backend.store, *backend.opened):
        await store.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    """The store of the backend under test."""
    return backend.store


def flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()
