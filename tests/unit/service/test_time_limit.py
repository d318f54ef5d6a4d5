"""Time limits hold even where a cancellation gets lost, and leave other cancellations alone."""

from __future__ import annotations

import asyncio

import pytest

from bandit_router.service.time_limit import TimeLimit, caller_remaining_s, caller_waits


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    async with TimeLimit(5.0) as limit:
        await asyncio.sleep(0)
    assert not limit.expired


async def test_a_block_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError):
        async with TimeLimit(0.01):
            await asyncio.Event().wait()


async def test_a_lost_cancellation_is_repeated() -> None:
    lost = 0

    async def lose_some() -> None:
        nonlocal lost
        async with TimeLimit(0.01):
            while lost < 3:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    lost += 1
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await lose_some()
    assert lost == 3
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_result_that_comes_with_the_cancellation_is_kept() -> None:
    async with TimeLimit(0.01) as limit:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            result = "done"
    assert limit.expired
    assert result == "done"


async def test_a_cancellation_from_elsewhere_goes_through() -> None:
    async def work() -> None:
        async with TimeLimit(60.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_limits_nest_and_each_ends_its_own_block() -> None:
    async with TimeLimit(60.0) as outer:
        with pytest.raises(TimeoutError):
            async with TimeLimit(0.01):
                await asyncio.Event().wait()
    assert not outer.expired


async def test_no_seconds_mean_no_limit() -> None:
    async with TimeLimit(None) as limit:
        await asyncio.sleep(0)
    assert not limit.expired


async def test_tasks_know_how_long_their_caller_waits() -> None:
    async def remaining() -> float | None:
        with caller_waits(None):
            return caller_remaining_s()

    assert caller_remaining_s() is None
    with caller_waits(30.0):
        inside = await asyncio.create_task(remaining())
    assert inside is not None
    assert 0 < inside <= 30.0
    assert caller_remaining_s() is None
