"""Time and entropy come in from outside, so that a simulation owns both."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time and waiting."""

    def now_ms(self) -> int:
        """Unix time in milliseconds, never decreasing."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""
        ...


class Entropy(Protocol):
    """Source of unguessable bytes for ids."""

    def token_bytes(self, count: int) -> bytes:
        """`count` fresh random bytes."""
        ...
