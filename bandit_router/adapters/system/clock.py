"""The machine's clock."""

from __future__ import annotations

import asyncio
import time

_NS_PER_MS = 1_000_000


class SystemClock:
    """Wall-clock time that stands still, instead of going back, while the machine's clock is set back."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def now_ms(self) -> int:
        """Unix time in milliseconds, never decreasing."""
        self._latest_ms = max(self._latest_ms, time.time_ns() // _NS_PER_MS)
        return self._latest_ms

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed."""
        await asyncio.sleep(seconds)
