"""Running a server: start, say so, serve until told to stop, drain, exit. For exit statuses see `lifetime`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandit_router.adapters.grpc.server import AddressInUse, Server
from bandit_router.adapters.system.observer import SystemObserver, configure_logging
from bandit_router.app.bootstrap import declare
from bandit_router.app.config import Config, ConfigError, load_config
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
from bandit_router.app.wiring import Replica, open_replica
from bandit_router.app.workers import serve_with_workers, stop_with_parent
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.tasks import BackgroundTasks

START_PATIENCE_S = 30.0
"""How long a server waits for its store before it gives up."""

START_RETRY_S = 0.5
WORKER_METRICS_HOST = "127.0.0.1"


def main(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> int:
    """Load the configuration and run a server until it is told to stop; returns the exit status."""
    try:
        config = load_config(file, overrides)
    except ConfigError as error:
        return refuse(error)
    return run(config)


def run(config: Config, *, is_worker: bool = False) -> int:
    """A server on an event loop of its own; returns the exit status."""
    configure_logging(as_json=config.json_logs)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        if config.workers > 1 and not is_worker:
            return runner.run(serve_with_workers(config))
        return runner.run(serve(config, is_worker=is_worker))


async def serve(config: Config, *, is_worker: bool = False) -> int:
    """Serve until told to stop, then drain; returns the exit status. A worker stops with its parent, too."""
    observer = SystemObserver()
    try:
        replica = open_replica(config, observer)
    except CANNOT_START as error:
        return refuse(error)
    try:
        stop = stop_event()
        if is_worker:
            stop_with_parent(stop)
        try:
            if not await _store_answers(replica, observer, stop):
                return EXIT_OK
            server, port, facts = await _start(config, replica, observer, is_worker=is_worker)
        except CANNOT_START as error:
            return refuse(error)
        tasks = BackgroundTasks(replica.services)
        tasks.start()
        announce(f"{config.host}:{port}", **facts)
        status = await _wait(stop, replica, observer)
        observer.note("draining")
        await server.drain(config.drain_s)
        await tasks.stop()
        return status
    finally:
        await replica.close()


async def _start(
    config: Config, replica: Replica, observer: SystemObserver, *, is_worker: bool
) -> tuple[Server, int, dict[str, object]]:
    """A listening server over a filled catalog, its port, and what else the ready line tells. Raises CANNOT_START."""
    await declare(replica.services.admin, config.pools, config.tenants)
    facts: dict[str, object] = {}
    if config.metrics_port is not None:
        host, port = (WORKER_METRICS_HOST, 0) if is_worker else (config.host, config.metrics_port)
        try:
            facts["metrics_port"] = observer.serve(host, port)
        except OSError as error:
            raise AddressInUse(f"cannot serve metrics on port {port}: {error.strerror}") from None
    server = Server(replica.services, ping=replica.store.ping, reflect=config.reflection, share_port=is_worker)
    return server, await server.start(config.listen), facts


async def _wait(stop: asyncio.Event, replica: Replica, observer: SystemObserver) -> int:
    """Return when told to stop. Meanwhile an embedded store that has died is started again."""
    while not stop.is_set():
        if not keep_store_alive(replica.own_store, observer):
            return EXIT_FAILED
        await pause(stop, CHECK_S)
    return EXIT_OK


async def _store_answers(replica: Replica, observer: SystemObserver, stop: asyncio.Event) -> bool:
    """True as soon as the services could start, False if told to stop before.

    Raises StoreUnavailable if the store does not answer for START_PATIENCE_S.
    """
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + START_PATIENCE_S
    while not stop.is_set():
        try:
            await replica.services.start()
        except StoreUnavailable as fault:
            if loop.time() > give_up_s:
                raise
            observer.note("waiting_for_store", why=str(fault))
            await pause(stop, START_RETRY_S)
        else:
            return True
    return False


def _loop_factory() -> Any:
    """uvloop where it is installed, else the standard loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
