"""Time limits that hold, and the caller's deadline, known to whatever is done for the call.

`asyncio.timeout` cancels once. Before Python 3.12 `asyncio.wait_for`, which the Redis driver sends through, drops a
cancellation that arrives together with its result; what follows is then under no limit at all. A `TimeLimit` cancels
again until its block has been left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self

CANCEL_AGAIN_S = 0.05
"""How soon a cancellation that seems to be lost is repeated."""

_deadline_s: ContextVar[float | None] = ContextVar("deadline_s", default=None)


class TimeLimit:
    """`async with TimeLimit(seconds)`: raises TimeoutError if the block has not ended by then; None means no limit.

    Cancellations from elsewhere go through. A block that ends by itself all the same has ended, however late.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelled_before = 0
        self._cancels = 0

    @property
    def expired(self) -> bool:
        """Whether the time was up before the block was left."""
        return self._cancels > 0

    async def __aenter__(self) -> Self:
        if self._seconds is not None:
            self._task = asyncio.current_task()
            assert self._task is not None
            self._cancelled_before = self._task.cancelling()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self._seconds), self._cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._timer is None or self._task is None:
            return
        self._timer.cancel()
        cancelling = self._cancelled_before
        for _again in range(self._cancels):
            cancelling = self._task.uncancel()
        if self._cancels and cancelling <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from fault

    def _cancel(self) -> None:
        assert self._task is not None
        self._cancels += 1
        self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(CANCEL_AGAIN_S, self._cancel)


@contextmanager
def caller_waits(remaining_s: float | None) -> Iterator[None]:
    """Inside, and in the tasks started there, the caller waits for `remaining_s` more (None: as long as outside)."""
    if remaining_s is None:
        yield
        return
    token = _deadline_s.set(asyncio.get_running_loop().time() + remaining_s)
    try:
        yield
    finally:
        _deadline_s.reset(token)


def caller_remaining_s() -> float | None:
    """How long the caller of what is being done now still waits; None if there is no deadline."""
    deadline_s = _deadline_s.get()
    return None if deadline_s is None else deadline_s - asyncio.get_running_loop().time()
