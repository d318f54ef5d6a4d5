"""Virtual time: it stands still until somebody moves it, and sleepers wake in the order of their due times."""

from __future__ import annotations

import asyncio
import heapq
import math

DEFAULT_START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""

SETTLE_ROUNDS = 8
"""Turns of the event loop that `advance` gives the tasks it has woken before time moves on."""


class ManualClock:
    """A clock that only `advance`, `jump` and `wake_next` move. Real time never enters."""

    def __init__(self, start_ms: int = DEFAULT_START_MS) -> None:
        self._now_ms = start_ms
        self._order = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        """Virtual Unix time in milliseconds."""
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been moved by `seconds` (rounded up to a millisecond); 0 yields one turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._now_ms + math.ceil(seconds * 1000), self._order, woken))
        await woken

    @property
    def next_due_ms(self) -> int | None:
        """When the next sleeper wakes; None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def jump(self, seconds: float) -> None:
        """Move time at once; all sleepers that are due by then wake at the new time, in order."""
        assert seconds >= 0
        self._now_ms += math.ceil(seconds * 1000)
        self._wake_due()

    def wake_next(self) -> bool:
        """Move time to the next sleeper's due time and wake it; False if nobody sleeps."""
        due_ms = self.next_due_ms
        if due_ms is None:
            return False
        self._now_ms = max(self._now_ms, due_ms)
        self._wake_due()
        return True

    async def advance(self, seconds: float) -> None:
        """Move time step by step: every sleeper wakes at its own due time and runs before time moves on."""
        end_ms = self._now_ms + math.ceil(seconds * 1000)
        while (due_ms := self.next_due_ms) is not None and due_ms <= end_ms:
            self.wake_next()
            await _settle()
        self._now_ms = end_ms
        await _settle()

    def _wake_due(self) -> None:
        while (due_ms := self.next_due_ms) is not None and due_ms <= self._now_ms:
            heapq.heappop(self._sleepers)[2].set_result(None)


async def _settle() -> None:
    for _ in range(SETTLE_ROUNDS):
        await asyncio.sleep(0)
