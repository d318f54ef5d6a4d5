"""The replica's loops: take over changes, learn, sweep, assume default rewards, write what an outage left.

Each survives an unreachable store and goes on after it. Once newer code has stored what this code would misread,
changes are still looked for, and what was decided in an outage is still written: it was answered. The others rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.observer import Observer
from bandit_router.service.assembly import Services

REFRESH_S = 0.2
LEARN_S = 0.1
SWEEP_S = 1.0
ASSUME_S = 1.0
RECONCILE_S = 0.2
MAX_BACKOFF_S = 1.0
"""Calls of a store that is away are refused at once, but for a few that try it: there is no need to wait for long, and
a learner that does is late when it is its turn to take over."""

CANCEL_AGAIN_S = 0.1
"""A cancellation can get lost in what a loop waits for: before Python 3.12, `asyncio.wait_for`, which the Redis driver
sends through, drops one that arrives together with its result. So it is repeated until the loop has ended."""


class BackgroundTasks:
    """Starts the loops and stops them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin on the running event loop."""
        services = self._services
        loops: dict[str, tuple[float, Callable[[], Awaitable[object]]]] = {
            "refresh": (REFRESH_S, services.refresh),
            "learn": (LEARN_S, self._if_readable(services.learner.step_all)),
            "sweep": (SWEEP_S, self._if_readable(services.sweeper.sweep)),
            "assume": (ASSUME_S, self._if_readable(services.defaults.assume)),
            "reconcile": (RECONCILE_S, services.outages.reconcile),
        }
        for name, (every_s, step) in loops.items():
            loop = repeat(name, every_s, step, clock=services.clock, observer=services.observer)
            self._tasks.append(asyncio.create_task(loop, name=name))

    def _if_readable(self, step: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        schema = self._services.schema

        async def guarded() -> None:
            if schema.is_readable:
                await step()

        return guarded

    async def stop(self) -> None:
        """End the loops; returns when none runs any more."""
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
        self._tasks.clear()


async def repeat(
    name: str, every_s: float, step: Callable[[], Awaitable[object]], *, clock: Clock, observer: Observer
) -> None:
    """Call `step` for ever. Waits longer and longer while it fails, and logs once per outage, not once per call."""
    failures = 0
    while True:
        try:
            await step()
            if failures:
                observer.note("task_recovered", task=name, failures=failures)
            failures = 0
        except StoreUnavailable as fault:
            if not failures:
                observer.note("task_waiting_for_store", task=name, why=str(fault))
            failures += 1
        except Exception as fault:  # noqa: BLE001 - a loop that ends would silently stop learning or sweeping
            if not failures:
                observer.note("task_failed", task=name, error=f"{type(fault).__name__}: {fault}")
            failures += 1
            observer.count("task_failures", task=name)
        await clock.sleep(min(max(MAX_BACKOFF_S, every_s), every_s * 2 ** min(failures, 10)))
