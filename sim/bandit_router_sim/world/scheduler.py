"""Who runs next is decided by the dice: coroutines take turns between their store calls, one at a time.

There are no threads and no timers. A coroutine gives up its turn by awaiting `turn()`, or by waiting for an asyncio
future (a lock, say), in which case it is passed over until the future is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from bandit_router_sim.world.acts import Act
from bandit_router_sim.world.dice import Dice
from bandit_router_sim.world.failure import Violation


class _Turn:
    def __await__(self) -> Generator[None, None, None]:
        yield


_TURN = _Turn()

_STALL = 0.01
_LONGEST_STALL = 150
"""Now and then a job hangs for so many turns of the others, as a process does that is swapped out."""


async def turn() -> None:
    """Let the others run."""
    await _TURN


@dataclass(slots=True, eq=False)
class Job:
    """An act under way, and the future that it waits for, if any."""

    act: Act
    run: Coroutine[Any, Any, None]
    waits_for: asyncio.Future[Any] | None = None
    stalled_until: int = 0

    @property
    def can_run(self) -> bool:
        """False while its future is open."""
        return self.waits_for is None or self.waits_for.done()


class Scheduler:
    """All jobs under way."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._jobs: list[Job] = []
        self._turns = 0
        self.current: Act | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def spawn(self, act: Act, run: Coroutine[Any, Any, None]) -> None:
        """Begin a job; it first runs when its turn comes."""
        self._jobs.append(Job(act, run))

    def step(self) -> None:
        """Give one job its turn. Nothing happens if there is none. Errors of the job come out here."""
        ready = [job for job in self._jobs if job.can_run]
        if not ready:
            if self._jobs:
                raise Violation(f"deadlock: {', '.join(job.act.name for job in self._jobs)}")
            return
        self._turns += 1
        awake = [job for job in ready if job.stalled_until <= self._turns]
        job = self._dice.pick(awake or ready)
        if self._dice.chance(_STALL):
            job.stalled_until = self._turns + self._dice.below(_LONGEST_STALL)
            return
        self.current = job.act
        try:
            job.waits_for = job.run.send(None)
        except StopIteration:
            self._jobs.remove(job)
        finally:
            self.current = None

    def drain(self) -> None:
        """Run until no job is left."""
        while self._jobs:
            self.step()

    def kill(self, replica: str) -> list[Act]:
        """End all jobs of a replica where they stand; their acts."""
        dead = [job for job in self._jobs if job.act.replica == replica]
        self._jobs = [job for job in self._jobs if job.act.replica != replica]
        for job in dead:
            self.current = job.act
            job.run.close()
        self.current = None
        return [job.act for job in dead]

    def close(self) -> None:
        """Drop everything, without a warning about coroutines that never ended."""
        for job in self._jobs:
            job.run.close()
        self._jobs.clear()
