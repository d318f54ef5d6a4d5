"""Group commit: all calls that wait at one moment share one round trip.

Throughput then does not pay a round trip per call: while batches are under way new calls gather in the queue, so the
batches grow with the load and shrink to one call when there is none.

A server that has let whole batches down is away. From then on calls are refused at once, but for one now and then that
tries it: callers do not queue for what will not come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from bandit_router.adapters.redis.link import Link, Reply, ServerAway, send_scripts
from bandit_router.adapters.redis.scripts import Command
from bandit_router.ports.ledger import StoreUnavailable

MAX_QUEUED = 8192
"""Calls that may be unanswered; one more is refused with StoreUnavailable at once."""

MAX_BATCH = 256
"""Calls in one round trip: bounds how long the server is busy with one client."""

MAX_BATCHES_IN_FLIGHT = 2
"""One is being answered while the next is on its way."""

AWAY_AFTER = 2
"""Batches in a row without any answer after which the server is away."""

PROBE_EVERY_S = 0.2
"""While it is away, how often a call is let through to find out."""


@dataclass(slots=True, eq=False)
class _Call:
    command: Command
    answer: asyncio.Future[Reply]
    give_up_s: float


class GroupCommit:
    """Gathers calls into batches for one server. Belongs to one event loop."""

    def __init__(self, link: Link, *, timeout_s: float) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._queue: deque[_Call] = deque()
        self._unanswered: deque[_Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._launching = False
        self._closed = False
        self._waiting = 0
        self._batches_lost = 0
        self._next_probe_s = 0.0

    async def call(self, command: Command) -> Reply:
        """The command's reply. Raises StoreUnavailable after `timeout_s` at the latest; a cancelled call is dropped."""
        if self._closed:
            raise StoreUnavailable("the connection to the store is closed")
        if self._waiting >= MAX_QUEUED:
            raise StoreUnavailable(f"{MAX_QUEUED} calls wait for the store already")
        loop = asyncio.get_running_loop()
        if not self._admits(loop.time()):
            raise StoreUnavailable("the store is away")
        call = _Call(command, loop.create_future(), loop.time() + self._timeout_s)
        self._queue.append(call)
        self._watch(call, loop)
        self._wake()
        self._waiting += 1
        try:
            return await call.answer
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Refuse new calls and let those under way finish; they take no longer than their time-out."""
        self._closed = True
        while self._batches or self._queue:
            self._launch()
            await asyncio.gather(*self._batches)

    def _admits(self, now_s: float) -> bool:
        """Whether a call may go to the server: always, or as a probe while it is away."""
        if self._batches_lost < AWAY_AFTER:
            return True
        if now_s < self._next_probe_s:
            return False
        self._next_probe_s = now_s + PROBE_EVERY_S
        return True

    def _watch(self, call: _Call, loop: asyncio.AbstractEventLoop) -> None:
        """All calls wait equally long, so they give up in the order they came in: one timer does for all."""
        while self._unanswered and self._unanswered[0].answer.done():
            self._unanswered.popleft()
        self._unanswered.append(call)
        if self._timer is None:
            self._timer = loop.call_at(call.give_up_s, self._give_up)

    def _give_up(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._unanswered:
            call = self._unanswered[0]
            if not call.answer.done() and call.give_up_s > loop.time():
                self._timer = loop.call_at(call.give_up_s, self._give_up)
                return
            _answer(self._unanswered.popleft(), StoreUnavailable(f"no answer within {self._timeout_s:g} s"))

    def _wake(self) -> None:
        """Launch at the end of this turn of the loop, so that all calls made in it share the batch."""
        if not self._launching and len(self._batches) < MAX_BATCHES_IN_FLIGHT:
            self._launching = True
            asyncio.get_running_loop().call_soon(self._launch)

    def _launch(self) -> None:
        self._launching = False
        while len(self._batches) < MAX_BATCHES_IN_FLIGHT and (batch := self._take()):
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._batches.add(task)
            task.add_done_callback(self._landed)

    def _take(self) -> list[_Call]:
        batch: list[_Call] = []
        while self._queue and len(batch) < MAX_BATCH:
            call = self._queue.popleft()
            if not call.answer.done():
                batch.append(call)
        return batch

    async def _run(self, batch: list[_Call]) -> None:
        replies: list[Reply] = [StoreUnavailable("the call was not sent")] * len(batch)
        try:
            replies = await send_scripts(self._link, [call.command for call in batch], timeout_s=self._timeout_s)
            is_lost = all(isinstance(reply, ServerAway) for reply in replies)
            self._batches_lost = self._batches_lost + 1 if is_lost else 0
        finally:
            for call, reply in zip(batch, replies, strict=True):
                _answer(call, reply)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if self._queue:
            self._wake()


def _answer(call: _Call, reply: Reply) -> None:
    if call.answer.done():
        return
    if isinstance(reply, Exception):
        call.answer.set_exception(type(reply)(*reply.args))
    else:
        call.answer.set_result(reply)
