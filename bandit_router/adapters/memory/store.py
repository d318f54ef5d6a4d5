"""All stores in memory, sharing their state: for simulations, tests and a router in a box."""

from __future__ import annotations

from bandit_router.adapters.memory.catalog import MemoryCatalog
from bandit_router.adapters.memory.events import MemoryEventLog
from bandit_router.adapters.memory.ledger import MemoryLedger
from bandit_router.adapters.memory.snapshots import MemorySnapshots
from bandit_router.ports.clock import Clock


class MemoryStore:
    """The four stores of one process; nothing survives it. `clock` decides when records and leases expire."""

    def __init__(self, clock: Clock) -> None:
        self.events = MemoryEventLog()
        self.ledger = MemoryLedger(clock, self.events)
        self.snapshots = MemorySnapshots(clock)
        self.catalog = MemoryCatalog()

    async def ping(self) -> None:
        """Always succeeds."""

    async def close(self) -> None:
        """Nothing to close."""
