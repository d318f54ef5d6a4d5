"""What every server process shares: exit statuses, being told to stop, the ready line, refusals to start.

Exit status 0 after an orderly end, 1 when the server fails while it serves, 2 when it cannot start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress

from bandit_router.adapters.grpc.server import AddressInUse
from bandit_router.adapters.system import DataDirectoryInUse, EmbeddedServerError
from bandit_router.app.config import ConfigError
from bandit_router.app.wiring import OwnStore
from bandit_router.core.errors import RouterError
from bandit_router.ports.catalog import ImportUnfinished, SchemaTooNew
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.observer import Observer

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CANNOT_START = 2

CHECK_S = 0.5
"""How often a server looks after what it keeps running."""

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


def stop_event() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Return after `seconds`, or as soon as the server is told to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def keep_store_alive(store: OwnStore, observer: Observer) -> bool:
    """Start an embedded store that has died again, on what it had written. False if it cannot be. Blocks meanwhile."""
    if not store.has_died:
        return True
    observer.note("embedded_store_lost")
    try:
        store.revive()
    except (EmbeddedServerError, DataDirectoryInUse) as error:
        observer.note("embedded_store_not_revived", error=str(error))
        return False
    return True


def announce(listen: str, **facts: object) -> None:
    """The line on standard output that says that the server serves."""
    print(json.dumps({"event": "ready", "listen": listen, "pid": os.getpid(), **facts}), flush=True)  # noqa: T201


def refuse(error: Exception) -> int:
    """One clear line (a line per fault of a configuration) and the status of a server that cannot start."""
    for line in str(error).splitlines():
        print(f"bandit-router: {line}", file=sys.stderr, flush=True)  # noqa: T201
    return EXIT_CANNOT_START
