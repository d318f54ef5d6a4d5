"""Several processes on one port: a parent that owns the embedded store, the port and the metrics, and its workers.

Each worker is a replica of its own with one event loop. All listen on one port (SO_REUSEPORT), so the kernel spreads
connections over them. A worker gets its configuration as a line on its standard input, which stays open: its end tells
the worker that the parent is gone. It says that it is ready with a line on its standard output.

A worker that ends by itself is started again. When that happens more than MAX_RESTARTS times within RESTARTS_PERIOD_S,
the whole server ends with status 1: something is wrong that restarts do not cure.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bandit_router.adapters.grpc.server import AddressInUse
from bandit_router.adapters.system.observer import SystemObserver
from bandit_router.adapters.system.worker_metrics import WorkerMetrics
from bandit_router.app.config import Config
from bandit_router.app.lifetime import (
    CANNOT_START,
    CHECK_S,
    EXIT_FAILED,
    EXIT_OK,
    announce,
    keep_store_alive,
    pause,
    refuse,
    stop_event,
)
from bandit_router.app.wiring import OwnStore
from bandit_router.ports.observer import Observer

MAX_RESTARTS = 5
RESTARTS_PERIOD_S = 60.0
START_LIMIT_S = 60.0
"""How long a worker may take until it serves: it waits for its store, too."""

STOP_MARGIN_S = 10.0
"""What a worker may take to end beyond the time that its calls have."""


class WorkerFailed(Exception):
    """A worker could not start. `status` is its exit status; it has said why on standard error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a worker could not start (status {status})")
        self.status = status


@dataclass(slots=True, eq=False)
class Worker:
    """A running worker, by its place among all, and where it serves its own metrics (None: nowhere)."""

    index: int
    process: asyncio.subprocess.Process
    metrics_port: int | None


class Workers:
    """Starts workers, keeps them running, and ends them."""

    def __init__(self, config: Config, observer: Observer) -> None:
        """`config` as each worker gets it: with the store's URL and the port that was reserved."""
        self._config = config
        self._observer = observer
        self._restarts: deque[float] = deque()
        self._running: dict[int, Worker] = {}

    @property
    def running(self) -> list[Worker]:
        """The workers, in order."""
        return [self._running[index] for index in sorted(self._running)]

    async def start(self) -> None:
        """Start all. The first one alone: it fills the catalog, and what is wrong is said once. Raises WorkerFailed."""
        await self._start(0)
        await asyncio.gather(*(self._start(index) for index in range(1, self._config.workers)))

    async def restart_lost(self) -> bool:
        """Start those that have ended again; one that cannot start counts as ended. False if it happens too often."""
        now_s = asyncio.get_running_loop().time()
        for worker in self.running:
            if worker.process.returncode is None:
                continue
            self._observer.note("worker_lost", worker=worker.index, status=worker.process.returncode)
            self._observer.count("workers_lost")
            while self._restarts and now_s - self._restarts[0] > RESTARTS_PERIOD_S:
                self._restarts.popleft()
            if len(self._restarts) >= MAX_RESTARTS:
                self._observer.note("workers_given_up", restarts=MAX_RESTARTS, within_s=RESTARTS_PERIOD_S)
                return False
            self._restarts.append(now_s)
            try:
                await self._start(worker.index)
            except WorkerFailed as fault:
                self._observer.note("worker_not_restarted", worker=worker.index, status=fault.status)
        return True

    async def stop(self) -> bool:
        """Let all drain; False if one had to be killed because it took too long."""
        for worker in self.running:
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        limit_s = self._config.drain_s + STOP_MARGIN_S
        orderly = await asyncio.gather(*(_end(worker.process, limit_s) for worker in self.running))
        self._running.clear()
        return all(orderly)

    async def _start(self, index: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bandit_router.app.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._running[index] = Worker(index, process, None)
        with suppress(ConnectionError):  # it has ended already: the missing line below tells
            process.stdin.write(f"{self._config.model_dump_json()}\n".encode())
            await process.stdin.drain()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            await _end(process, STOP_MARGIN_S)
            raise WorkerFailed(process.returncode or EXIT_FAILED)
        self._running[index] = Worker(index, process, json.loads(line).get("metrics_port"))


async def serve_with_workers(config: Config) -> int:
    """Run `config.workers` workers on one port until told to stop, then let them drain; returns the exit status."""
    observer = SystemObserver()
    try:
        own_store = OwnStore(config)
    except CANNOT_START as error:
        return refuse(error)
    try:
        stop = stop_event()
        with _reserved_port(config) as port:
            listen = f"{config.host}:{port}"
            workers = Workers(config.model_copy(update={"redis_url": own_store.url, "listen": listen}), observer)
            try:
                _serve_metrics(config, observer, workers)
                await workers.start()
                announce(listen, workers=[worker.process.pid for worker in workers.running])
                status = await _watch(stop, workers, own_store, observer)
            finally:
                is_orderly = await workers.stop()
            return status if is_orderly else EXIT_FAILED
    except WorkerFailed as failure:
        return failure.status if failure.status > 0 else EXIT_FAILED
    except CANNOT_START as error:
        return refuse(error)
    finally:
        own_store.stop()


async def _watch(stop: asyncio.Event, workers: Workers, own_store: OwnStore, observer: Observer) -> int:
    while not stop.is_set():
        if not keep_store_alive(own_store, observer) or not await workers.restart_lost():
            return EXIT_FAILED
        await pause(stop, CHECK_S)
    return EXIT_OK


def _serve_metrics(config: Config, observer: SystemObserver, workers: Workers) -> None:
    """All workers' metrics on one page, labelled by worker. Raises AddressInUse."""
    if config.metrics_port is None:
        return
    observer.registry.register(WorkerMetrics(lambda: {w.index: w.metrics_port for w in workers.running}))
    try:
        observer.serve(config.host, config.metrics_port)
    except OSError as error:
        raise AddressInUse(f"cannot serve metrics on port {config.metrics_port}: {error.strerror}") from None


@contextmanager
def _reserved_port(config: Config) -> Iterator[int]:
    kept, port = reserve_port(config.host, config.port)
    with kept:
        yield port


def reserve_port(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket that keeps the port for processes that share it, and the port, chosen by the system for 0.

    It does not listen, so no connection goes there. Raises AddressInUse: also if others share the port among
    themselves, since half of the calls would go to them.
    """
    family, _, _, _, address = _resolve(host, port)
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        kept = socket.socket(family)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(address)
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return kept, int(kept.getsockname()[1])


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _end(process: asyncio.subprocess.Process, limit_s: float) -> bool:
    """Wait for the end of a process that was told to; kill it after `limit_s`. Whether it ended by itself."""
    if process.stdin is not None:
        process.stdin.close()  # asyncio takes a process for alive as long as a pipe to it is open
    try:
        async with asyncio.timeout(limit_s):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return False
    return True


def stop_with_parent(stop: asyncio.Event) -> None:
    """In a worker: set `stop` when the pipe from the parent ends. The parent writes nothing more into it."""
    loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

    def ended() -> None:
        loop.remove_reader(pipe)
        stop.set()

    loop.add_reader(pipe, ended)
