"""ManualClock: time moves when told to, sleepers wake in order."""

from __future__ import annotations

import asyncio

import pytest

from bandit_router.adapters.memory import ManualClock


@pytest.fixture
def clock():
    return ManualClock(start_ms=1_000)


async def sleeper(clock, seconds, log, name):
    await clock.sleep(seconds)
    log.append((name, clock.now_ms()))


async def start(*coroutines):
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return tasks


async def test_time_stands_still_by_itself(clock):
    await asyncio.sleep(0)
    assert clock.now_ms() == 1_000


async def test_advance_wakes_each_sleeper_at_its_own_time_and_in_order(clock):
    log = []
    await start(sleeper(clock, 3, log, "c"), sleeper(clock, 1, log, "a"), sleeper(clock, 2, log, "b"))
    await clock.advance(2.5)
    assert log == [("a", 2_000), ("b", 3_000)]
    assert clock.now_ms() == 3_500


async def test_jump_wakes_all_that_are_due_at_the_new_time(clock):
    log = []
    await start(sleeper(clock, 2, log, "b"), sleeper(clock, 1, log, "a"))
    clock.jump(5)
    await asyncio.sleep(0)
    assert log == [("a", 6_000), ("b", 6_000)]


async def test_equal_times_wake_in_the_order_of_the_calls(clock):
    log = []
    await start(*(sleeper(clock, 1, log, n) for n in range(5)))
    await clock.advance(1)
    assert [name for name, _ in log] == list(range(5))


async def test_a_sleeper_that_sleeps_again_wakes_again_within_one_advance(clock):
    ticks = []

    async def ticking():
        while True:
            await clock.sleep(1)
            ticks.append(clock.now_ms())

    [task] = await start(ticking())
    await clock.advance(3)
    task.cancel()
    assert ticks == [2_000, 3_000, 4_000]


async def test_wake_next_moves_time_to_the_next_sleeper(clock):
    log = []
    await start(sleeper(clock, 7, log, "a"))
    assert clock.next_due_ms == 8_000
    assert clock.wake_next()
    await asyncio.sleep(0)
    assert log == [("a", 8_000)]
    assert not clock.wake_next()


async def test_a_cancelled_sleeper_is_forgotten(clock):
    [task] = await start(clock.sleep(1))
    task.cancel()
    await asyncio.sleep(0)
    assert clock.next_due_ms is None


async def test_sleeping_for_nothing_returns(clock):
    await clock.sleep(0)
    assert clock.now_ms() == 1_000
