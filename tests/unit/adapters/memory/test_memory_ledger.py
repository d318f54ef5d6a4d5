"""MemoryLedger: what the contract does not ask for: that it forgets, so that long simulations fit in memory."""

from __future__ import annotations

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.outcomes import Booking
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import HoldRequest, Level, OutcomeCommit

LEVELS = (Level("t", Window(0)), Level("t", Window(0), session_id="s", cap_nusd=10_000))


async def test_settled_records_do_not_pile_up():
    clock = ManualClock()
    ledger = MemoryStore(clock).ledger
    await ledger.open_account("t", 10_000, 1)
    for n in range(1000):
        now_ms = clock.now_ms()
        names = ("t", f"d{n}", f"r{n}")
        price = PriceMark(1.0, 0, 0)
        await ledger.hold(HoldRequest(*names, LEVELS, 1, 1, now_ms, now_ms + 1000, 1000, b"", b"", b"", price))
        charges = tuple(level.charge for level in LEVELS)
        bookings = Booking(stands=True, held_nusd=1, in_flight_nusd=1), Booking(stands=False)
        await ledger.commit(OutcomeCommit("t", "p", f"d{n}", charges, 0, b"", b"", *bookings, now_ms))
        clock.jump(0.1)
    assert len(ledger._records) < 50
    assert len(ledger._requests) < 50
    assert len(ledger._due._queue) < 50
