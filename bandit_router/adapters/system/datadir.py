"""Who owns a data directory, told by kernel locks, which vanish with their holder however it dies.

router.lock   held by the router process; its text is the holder's pid
server.lock   held by the Valkey process (inherited from the router that started it): while it is held, the
              directory's append-only file has a writer
socket        text: where the server listens, if that is not in the directory itself
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 100
"""Kernels take 104 to 108 bytes, the closing zero included."""

PRIVATE_MODE = 0o700
_RUNTIME_PREFIX = "bandit-router-"


class DataDirectoryInUse(Exception):
    """Another router process has this data directory. The message names both."""


class DataDirectory:
    """A data directory, locked for this process as long as the object is open."""

    def __init__(self, path: Path) -> None:
        """Create it if need be (mode 0700) and lock it. Raises DataDirectoryInUse."""
        path.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
        self.path = path.resolve()
        self._lock = os.open(self.path / "router.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(self._lock):
            holder = os.pread(self._lock, 20, 0).decode().strip() or "unknown"
            os.close(self._lock)
            raise DataDirectoryInUse(f"data directory {self.path} is in use by process {holder}")
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def open_server_lock(self) -> int:
        """A descriptor of the server's lock, not locked yet."""
        return os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)

    @property
    def socket(self) -> Path:
        """Where the latest server listens or listened."""
        recorded = self.path / "socket"
        return Path(recorded.read_text()) if recorded.exists() else self.path / "valkey.sock"

    def place_socket(self) -> Path:
        """Choose where the next server listens: in the directory, or in a private one with a shorter name."""
        self.remove_socket()
        here = self.path / "valkey.sock"
        if len(os.fsencode(here)) <= MAX_SOCKET_PATH_BYTES:
            return here
        elsewhere = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX, dir=_short_directory())) / "valkey.sock"
        (self.path / "socket").write_text(str(elsewhere))
        return elsewhere

    def remove_socket(self) -> None:
        """Remove what a server that no longer runs has left."""
        socket = self.socket
        socket.unlink(missing_ok=True)
        (self.path / "socket").unlink(missing_ok=True)
        if socket.parent.name.startswith(_RUNTIME_PREFIX) and socket.parent != self.path:
            shutil.rmtree(socket.parent, ignore_errors=True)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def try_lock(descriptor: int) -> bool:
    """Lock an open file exclusively, or return False at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _short_directory() -> str | None:
    """The temporary directory unless its own name is too long for a socket."""
    return None if len(os.fsencode(tempfile.gettempdir())) <= MAX_SOCKET_PATH_BYTES // 2 else "/tmp"  # noqa: S108
