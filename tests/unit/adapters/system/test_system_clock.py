"""SystemClock and SystemEntropy."""

from __future__ import annotations

import time

from bandit_router.adapters.system import SystemClock, SystemEntropy


def test_the_clock_tells_unix_time_in_milliseconds():
    assert abs(SystemClock().now_ms() - time.time() * 1000) < 5_000


def test_the_clock_never_goes_back(monkeypatch):
    clock = SystemClock()
    now_ms = clock.now_ms()
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    assert clock.now_ms() == now_ms


async def test_sleeping_takes_time():
    started_s = time.monotonic()
    await SystemClock().sleep(0.01)
    assert time.monotonic() - started_s >= 0.009


def test_entropy_gives_fresh_bytes():
    assert len(SystemEntropy().token_bytes(16)) == 16
    assert SystemEntropy().token_bytes(16) != SystemEntropy().token_bytes(16)
