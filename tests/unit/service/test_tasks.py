from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest

from bandit_router.adapters.memory import ManualClock
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.tasks import MAX_BACKOFF_S, REFRESH_S, SWEEP_S, BackgroundTasks, repeat
from tests.builders import SMALL
from tests.unit.service.worlds import Recorder, open_world


async def times_of(results: Iterable[Exception | None], *, every_s: float = 0.1) -> tuple[list[float], Recorder]:
    """When the step was called, by the virtual clock, while it gave these results (then success)."""
    clock, observer, pending = ManualClock(), Recorder(), list(results)
    start_ms, times = clock.now_ms(), []

    async def step() -> None:
        times.append((clock.now_ms() - start_ms) / 1000)
        result = pending.pop(0) if pending else None
        if result is not None:
            raise result

    task = asyncio.create_task(repeat("demo", every_s, step, clock=clock, observer=observer))
    await asyncio.sleep(0)
    await clock.advance(20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return times, observer


async def test_a_step_is_repeated_at_its_pace() -> None:
    times, observer = await times_of([], every_s=2)
    assert times == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert observer.events() == []


async def test_a_failing_step_is_repeated_ever_more_slowly_up_to_a_limit() -> None:
    times, _ = await times_of([StoreUnavailable("away")] * 8)
    gaps = [round(b - a, 3) for a, b in pairwise(times)]
    assert gaps[:7] == [0.2, 0.4, 0.8, *[MAX_BACKOFF_S] * 4]


async def test_after_an_outage_the_pace_is_as_before() -> None:
    times, observer = await times_of([StoreUnavailable("away")] * 3, every_s=0.4)
    assert times[:6] == pytest.approx([0, 0.8, 1.8, 2.8, 3.2, 3.6])
    assert observer.events() == ["task_waiting_for_store", "task_recovered"]
    assert observer.notes[1][1] == {"task": "demo", "failures": 3}


async def test_an_outage_is_logged_once_not_once_per_call() -> None:
    _, observer = await times_of([StoreUnavailable("away")] * 100)
    assert observer.events() == ["task_waiting_for_store"]


async def test_a_bug_in_a_step_is_logged_counted_and_survived() -> None:
    times, observer = await times_of([ZeroDivisionError("oops")] * 2)
    assert len(times) > 3
    assert observer.events() == ["task_failed", "task_recovered"]
    assert observer.counts["task_failures"] == 2
    assert observer.notes[0][1]["error"] == "ZeroDivisionError: oops"


async def test_the_loops_refresh_learn_and_sweep_by_themselves_until_they_are_stopped() -> None:
    world = await open_world(arms=[SMALL])
    other = await world.replica(seed=2)
    tasks = BackgroundTasks(other.services)
    tasks.start()
    await world.settle(await world.route(), reward=0.5)
    await world.services.admin.remove_arm("pool", "small", etag="", dry_run=False)
    await world.clock.advance(2 * REFRESH_S)
    assert other.services.directory.arms("pool") == ()
    assert await world.store.snapshots.load("pool") is not None
    await world.services.admin.put_arm("pool", SMALL, etag="", dry_run=False)
    await world.route()
    await world.clock.advance(600 + 2 * SWEEP_S)
    assert (await world.budget()).account.held_nusd == 0
    await tasks.stop()
    assert world.clock.next_due_ms is None


async def test_a_cancellation_that_gets_lost_on_its_way_is_repeated_until_the_loops_have_ended() -> None:
    world = await open_world(arms=[SMALL])

    class Sweeper:
        losses = 0

        async def sweep(self) -> int:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            self.losses += 1
            return 0

    sweeper = Sweeper()
    tasks = BackgroundTasks(replace(world.services, sweeper=sweeper))  # type: ignore[arg-type]
    tasks.start()
    await world.clock.advance(0)
    await asyncio.wait_for(tasks.stop(), 5)
    assert sweeper.losses == 1
