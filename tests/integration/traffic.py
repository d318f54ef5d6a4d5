"""Callers that keep asking while things fail, and remember what they were told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from bandit_router import AsyncRouterClient
from bandit_router.errors import DecisionNotFound, RouterError

CALLERS = 4
TIMEOUT_S = 3.0
PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""What a caller may meet while something fails over; everything else would be a refusal or a fault."""


@dataclass
class Traffic:
    """What callers were told: decisions, bills that were acknowledged, and what went wrong when."""

    targets: list[str]
    tenant_id: str = "acme"
    decided: dict[str, float] = field(default_factory=dict)
    billed: dict[str, int] = field(default_factory=dict)
    billed_s: dict[str, float] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    faults: list[tuple[float, RouterError]] = field(default_factory=list)
    last_success_s: float = 0.0

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Callers at work, on a thread of their own; every decision that was answered is billed before they stop."""
        stop = Event()
        thread = Thread(target=lambda: asyncio.run(self._flow(stop)))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def wrong(self) -> list[RouterError]:
        """Faults that nothing excuses."""
        return [fault for _, fault in self.faults if fault.code not in PASSING]

    def troubled(self) -> tuple[float, float]:
        """When the first and the last fault were met; (0, 0) if there were none."""
        times = [at_s for at_s, _ in self.faults]
        return (min(times), max(times)) if times else (0.0, 0.0)

    async def _flow(self, stop: Event) -> None:
        clients = [AsyncRouterClient(target, tenant_id=self.tenant_id, timeout_s=TIMEOUT_S) for target in self.targets]
        try:
            await asyncio.gather(*(self._call(clients[n % len(clients)], n, stop) for n in range(CALLERS)))
        finally:
            for client in clients:
                await client.close()

    async def _call(self, client: AsyncRouterClient, caller: int, stop: Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            request_id = f"{caller}-{number}"
            route = await self._until_told(client.route, query="hello", request_id=request_id, max_output_tokens=50)
            if route is None:
                continue
            self.decided[route.decision_id] = time.monotonic()
            bill = 1000 + number
            for _ in range(2):  # a duplicate must change nothing
                if await self._until_told(client.feedback, route.decision_id, cost_nusd=bill) is not None:
                    self.billed[route.decision_id] = bill
                    self.billed_s.setdefault(route.decision_id, time.monotonic())

    async def _until_told(self, call: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """The answer, however long it takes while the reason may pass; None for what will not pass."""
        while True:
            try:
                answer = await call(*args, **options)
            except DecisionNotFound:
                self.lost.append(args[0])
                return None
            except RouterError as fault:
                self.faults.append((time.monotonic(), fault))
                if fault.code not in PASSING:
                    return None
                await asyncio.sleep(0.05)
            else:
                self.last_success_s = time.monotonic()
                return answer
