"""A power cut under a store that writes ahead: what it had on disk for certain stays, the rest does not.

A process that is killed loses nothing that it has handed to the kernel. So while the store runs, its file is watched
and its thread that writes to disk: where the file ended when that thread last began, it is on disk once the thread
rests. (WAITAOF would tell, but Valkey 9.1 answers it at once under `everysec`, with no write to disk in between.) The
cut is a kill, after which the file ends there, or anywhere behind: in the middle of a command, too, or of what a script
did.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

LOOK_S = 0.004
WRITER = "bio_aof"
"""Name of the thread that writes the log to disk."""


@dataclass
class DiskWatch:
    """What of a Valkey's newest log file is on disk, and how long the rest was not. Linux only."""

    pid: int
    path: Path
    waits_s: list[float] = field(default_factory=list)
    safe_bytes: int = 0
    """Of the file that are on disk for certain."""

    safe_s: float = 0.0
    """Whatever was acknowledged until then is among them."""

    syncs: int = 0

    def __post_init__(self) -> None:
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        [self._status] = [task / "status" for task in tasks if (task / "comm").read_text().strip() == WRITER]
        self._waiting: deque[tuple[float, int]] = deque()
        self._stop = Event()
        self._pool = ThreadPoolExecutor(1)
        self._watching = self._pool.submit(self._watch)

    def end(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._pool.shutdown()
        self._watching.result()

    def _watch(self) -> None:
        before_s, before_bytes = time.monotonic(), self.path.stat().st_size
        rested = self._look()[1]
        while not self._stop.wait(LOOK_S):
            now_s, size = time.monotonic(), self.path.stat().st_size
            try:
                is_resting, rests = self._look()
            except (FileNotFoundError, ProcessLookupError):
                return
            if is_resting and rests != rested:
                self._synced(before_bytes, before_s, now_s)
                rested = rests
            if is_resting:
                before_s, before_bytes = now_s, size
            if not self._waiting or self._waiting[-1][1] < size:
                self._waiting.append((now_s, size))

    def _look(self) -> tuple[bool, int]:
        """Whether the writing thread rests, and how often it has begun to."""
        status = self._status.read_text()
        found = re.search(r"^State:\s+(\w).*^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE | re.DOTALL)
        assert found is not None
        return found[1] == "S", int(found[2])

    def _synced(self, size: int, began_s: float, now_s: float) -> None:
        self.safe_bytes, self.safe_s, self.syncs = size, began_s, self.syncs + 1
        while self._waiting and self._waiting[0][1] <= size:
            self.waits_s.append(now_s - self._waiting.popleft()[0])


@dataclass(frozen=True)
class Cut:
    """One power cut: since when what was acknowledged may be lost, when it was, and how many bytes went."""

    safe_s: float
    cut_s: float
    bytes_lost: int

    def may_have_lost(self, acknowledged_s: float, *, slack_s: float) -> bool:
        """Whether what was acknowledged then may be lost. `slack_s`: what an answer may take to be noticed."""
        return self.safe_s <= acknowledged_s <= self.cut_s + slack_s


def newest_log(folder: Path) -> Path:
    """The file that a store appends to."""
    return max(folder.glob("*.incr.aof"), key=lambda found: int(found.name.split(".")[-3]))


def cut_off(watch: DiskWatch, cut_s: float, *, share: float) -> Cut:
    """End the log of a killed store behind what is on disk for certain, and `share` of the rest."""
    written = watch.path.stat().st_size
    kept = watch.safe_bytes + int(share * (written - watch.safe_bytes))
    os.truncate(watch.path, kept)
    return Cut(watch.safe_s, cut_s, written - kept)
