"""A real server in a process of its own, and everything that its store keeps."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import redis

from bandit_router import RouterClient

ROOT = Path(__file__).resolve().parents[2]
WAIT_LIMIT_S = 20.0
RUN = "import json, sys; from bandit_router.app.serve import main; sys.exit(main(None, json.loads(sys.argv[1])))"
VOLATILE = (b":lease", b":fence")
"""Keys of the learner's lease: renewed all the time, whatever the calls."""


class ServerProcess:
    """`bandit-router serve` on a data directory and a port that the system chooses."""

    code = RUN

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.settings = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "json_logs": True, **settings}
        self._stderr = data_dir.with_suffix(".stderr")
        self.process = self._spawn()
        line = self.process.stdout.readline() if self.process.stdout else ""
        assert line, f"the server did not start:\n{self.log}"
        self.ready: dict[str, Any] = json.loads(line)
        self.listen = str(self.ready["listen"])

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return self._stderr.read_text()

    def client(self, **options: Any) -> RouterClient:
        """A client with time to spare: the machine may be busy."""
        return RouterClient(self.listen, **{"timeout_s": WAIT_LIMIT_S, "batch_timeout_s": 60.0, **options})

    def terminate(self) -> int:
        """End it in an orderly way; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_LIMIT_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(WAIT_LIMIT_S)

    def store(self) -> redis.Redis:
        """A connection to its store."""
        recorded = self.data_dir / "socket"
        path = recorded.read_text() if recorded.exists() else str(self.data_dir / "valkey.sock")
        return redis.Redis(unix_socket_path=path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout:
            self.process.stdout.close()

    def _spawn(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self.code, json.dumps(self.settings)]
        with self._stderr.open("a") as errors:
            return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)


def refused_start(**settings: object) -> subprocess.CompletedProcess[str]:
    """The end of a server that is expected not to start."""
    command = [sys.executable, "-c", RUN, json.dumps(settings)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_LIMIT_S, check=False)


def dump(store: redis.Redis) -> dict[bytes, object]:
    """Every key and value of the store, without times to live and without the learner's lease."""
    return {key: _value(store, key) for key in store.scan_iter(count=1000) if not key.endswith(VOLATILE)}


def settled_dump(store: redis.Redis) -> dict[bytes, object]:
    """The dump once it no longer changes: the learner has folded what there was."""
    state: list[dict[bytes, object]] = [{}]

    def is_stable() -> bool:
        before = state[0]
        time.sleep(0.3)
        state[0] = dump(store)
        return state[0] == before

    wait_until(is_stable)
    return state[0]


@contextmanager
def unchanged(store: redis.Redis) -> Iterator[None]:
    """Assert that what happens inside leaves no trace in the store."""
    before = settled_dump(store)
    yield
    assert settled_dump(store) == before


def metrics_page(port: int, timeout_s: float = 5.0) -> str:
    """What a server tells of itself on its page of metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=timeout_s) as answer:
        return str(answer.read().decode())


def wait_until(condition: Callable[[], object], limit_s: float = WAIT_LIMIT_S) -> None:
    """Poll until `condition` is true; fail when it does not become so in time."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


def _value(store: redis.Redis, key: bytes) -> object:
    kind = store.type(key)
    if kind == b"string":
        return store.get(key)
    if kind == b"hash":
        return store.hgetall(key)
    if kind == b"zset":
        return store.zrange(key, 0, -1, withscores=True)
    if kind == b"list":
        return store.lrange(key, 0, -1)
    if kind == b"set":
        return store.smembers(key)
    assert kind in (b"stream", b"none"), kind
    return store.xrange(key) if kind == b"stream" else None
