"""Running a server: start, say so, serve until told to stop, drain, exit.

Exit status 0 after an orderly end, 1 when the server fails while it serves, 2 when it cannot start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bandit_router.adapters.grpc.server import AddressInUse, Server
from bandit_router.adapters.system import DataDirectoryInUse, EmbeddedServerError
from bandit_router.adapters.system.observer import SystemObserver, configure_logging
from bandit_router.app.bootstrap import declare
from bandit_router.app.config import Config, ConfigError, load_config
from bandit_router.app.wiring import Replica, open_replica
from bandit_router.core.errors import RouterError
from bandit_router.ports.catalog import ImportUnfinished, SchemaTooNew
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.tasks import BackgroundTasks

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CANNOT_START = 2

START_PATIENCE_S = 30.0
"""How long a server waits for its store before it gives up."""

START_RETRY_S = 0.5
STORE_CHECK_S = 0.5

CANNOT_START = (
    AddressInUse,
    ConfigError,
    DataDirectoryInUse,
    EmbeddedServerError,
    ImportUnfinished,
    OSError,
    RouterError,
    SchemaTooNew,
    StoreUnavailable,
)


def main(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> int:
    """Load the configuration and run a server until it is told to stop; returns the exit status."""
    try:
        config = load_config(file, overrides)
    except ConfigError as error:
        return _refuse(error)
    return run(config)


def run(config: Config) -> int:
    """`serve` on an event loop of its own."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve(config))


async def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT, then drain; returns the exit status."""
    configure_logging(as_json=config.json_logs)
    observer = SystemObserver()
    try:
        replica = open_replica(config, observer)
    except CANNOT_START as error:
        return _refuse(error)
    try:
        stop = _stop_event()
        try:
            if not await _store_answers(replica, observer, stop):
                return EXIT_OK
            server, port = await _start(config, replica, observer)
        except CANNOT_START as error:
            return _refuse(error)
        tasks = BackgroundTasks(replica.services)
        tasks.start()
        _announce(f"{config.host}:{port}")
        status = await _wait(stop, replica, observer)
        observer.note("draining")
        await server.drain(config.drain_s)
        await tasks.stop()
        return status
    finally:
        await replica.close()


async def _start(config: Config, replica: Replica, observer: SystemObserver) -> tuple[Server, int]:
    """A listening server over a filled catalog, and its port. Raises one of CANNOT_START."""
    await declare(replica.services.admin, config.pools, config.tenants)
    if config.metrics_port is not None:
        try:
            observer.serve(config.host, config.metrics_port)
        except OSError as error:
            raise AddressInUse(f"cannot serve metrics on port {config.metrics_port}: {error.strerror}") from None
    server = Server(replica.services, ping=replica.store.ping, reflect=config.reflection)
    return server, await server.start(config.listen)


async def _wait(stop: asyncio.Event, replica: Replica, observer: SystemObserver) -> int:
    """Return when told to stop. Meanwhile an embedded store that has died is started again, on what it had written."""
    while not stop.is_set():
        if replica.has_lost_store:
            observer.note("embedded_store_lost")
            try:
                replica.revive_store()
            except (EmbeddedServerError, DataDirectoryInUse) as error:
                observer.note("embedded_store_not_revived", error=str(error))
                return EXIT_FAILED
        await _pause(stop, STORE_CHECK_S)
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
            await _pause(stop, START_RETRY_S)
        else:
            return True
    return False


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """Return after `seconds`, or as soon as the server is told to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _stop_event() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _announce(listen: str) -> None:
    print(json.dumps({"event": "ready", "listen": listen, "pid": os.getpid()}), flush=True)  # noqa: T201


def _refuse(error: Exception) -> int:
    """One clear line (a line per fault of a configuration) and the status of a server that cannot start."""
    for line in str(error).splitlines():
        print(f"bandit-router: {line}", file=sys.stderr, flush=True)  # noqa: T201
    return EXIT_CANNOT_START


def _loop_factory() -> Any:
    """uvloop where it is installed, else the standard loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
