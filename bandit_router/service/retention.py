"""How long the event log is kept behind what has been learned.

An entry is dropped when a stored snapshot has contained it for a while and it is older than the log is to be kept, or
when so many newer ones are there. What no snapshot contains is never dropped, however old or many.

"For a while": snapshots and events may lie on different servers, which write to disk in seconds of their own. A server
that loses its last second with a snapshot in it must not find that another has dropped the events for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bandit_router.ports.clock import Clock
from bandit_router.ports.events import EventLog, Keep
from bandit_router.ports.observer import Observer

DAY_S = 86_400.0
SETTLE_MS = 10_000
"""Age of a snapshot that entries are dropped behind. It is stored on disk by then, also with `appendfsync everysec`."""

MAX_TRIMS = 100
"""Bounded parts of the work that are asked for at a time; what is left over is dropped the next time."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Entries are kept for `keep_s`, but no more than `keep_newest` per pool and partition (there are 16)."""

    keep_s: float = 7 * DAY_S
    keep_newest: int = 50_000


DEFAULT_RETENTION = Retention()


class Trimmer:
    """Drops entries for one learner."""

    def __init__(self, events: EventLog, clock: Clock, observer: Observer, retention: Retention) -> None:
        self._events = events
        self._clock = clock
        self._observer = observer
        self._retention = retention
        self._stored: dict[str, tuple[int, dict[int, str]]] = {}

    async def trim(self, pool_id: str, positions: Mapping[int, str]) -> None:
        """Drop what may go, now that a stored snapshot contains `positions`. Raises StoreUnavailable."""
        now_ms = self._clock.now_ms()
        since_ms, stored = self._stored.setdefault(pool_id, (now_ms, dict(positions)))
        if now_ms - since_ms < SETTLE_MS:
            return
        self._stored[pool_id] = now_ms, dict(positions)
        keep = Keep(now_ms - round(self._retention.keep_s * 1000), self._retention.keep_newest)
        for _ in range(MAX_TRIMS):
            dropped = await self._events.trim(pool_id, stored, keep)
            if not dropped:
                return
            self._observer.count("events_trimmed", dropped, pool=pool_id)

    def forget(self, pool_id: str) -> None:
        """Another replica learns for this pool."""
        self._stored.pop(pool_id, None)
