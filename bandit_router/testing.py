"""For tests of applications that use the router: a router in a box, on stores in memory and a clock that jumps.

    async with RouterBox.open(tenant_id="acme") as box:
        await box.router.admin.create_pool("main")
        ...
        route = await box.router.route("hello")
        await box.router.feedback(route.decision_id, reward=1.0)
        await box.settle()                  # learn from it now
        box.clock.jump(3600.0)              # an hour later

Nothing runs in the background and nothing is random: the same calls give the same answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from bandit_router.adapters.memory import ManualClock, MemoryStore, SeededEntropy
from bandit_router.app.wiring import Encoders
from bandit_router.router import Router
from bandit_router.service.assembly import Services, assemble

__all__ = ["ManualClock", "MemoryStore", "NullObserver", "RouterBox", "SeededEntropy"]


class NullObserver:
    """Implements `Observer`; keeps nothing."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """See `Observer.count`."""

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """See `Observer.time`."""

    def level(self, name: str, value: float, **labels: str) -> None:
        """See `Observer.level`."""

    def note(self, event: str, **facts: object) -> None:
        """See `Observer.note`."""


@dataclass(frozen=True, slots=True, eq=False)
class RouterBox:
    """A router, its clock, and the services behind it."""

    router: Router
    clock: ManualClock
    services: Services

    @classmethod
    @asynccontextmanager
    async def open(cls, *, tenant_id: str = "", seed: int = 0) -> AsyncIterator[Self]:
        """A fresh box. `seed` makes all ids, also those of requests that have none."""
        clock, entropy = ManualClock(), SeededEntropy(seed)
        services = assemble(
            MemoryStore(clock),
            clock=clock,
            entropy=entropy,
            encoders=Encoders(),
            observer=NullObserver(),
        )
        await services.start()
        try:
            router = Router(services, tenant_id=tenant_id, new_request_id=lambda: entropy.token_bytes(16).hex())
            yield cls(router=router, clock=clock, services=services)
        finally:
            await services.close()

    async def settle(self) -> None:
        """Do at once what a server does in the background: take over changes, learn, end overdue holds."""
        await self.services.refresh()
        await self.services.learner.step_all()
        await self.services.sweeper.sweep()
        await self.services.defaults.assume()
