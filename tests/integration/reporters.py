"""Callers that report everything there is: bills, rewards early, late and never, corrections, repetitions.

Each decision is one of several stories, told by its number. What callers were told is kept with the time at which they
were told it, so that it can be compared with what a store has after it has been killed, or cut off from its power.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from traffic import PASSING, TIMEOUT_S

from bandit_router import AsyncRouterClient, RouterClient
from bandit_router.errors import DecisionNotFound, RouterError

PLAIN, PATIENT, RECALLED = "plain", "patient", "recalled"
"""Tenants of the default learner's pool, of one that assumes rewards and fades, of one that recalls single outcomes."""

TENANTS = (PLAIN, PATIENT, RECALLED)
POOLS = {PLAIN: "main", PATIENT: "assuming", RECALLED: "recalling"}
LEARNERS = {"main": "hierarchical", "assuming": "dlinucb:gamma=0.99", "recalling": "knn"}
DEFAULT_REWARD = 0.25
DEFAULT_AFTER_S = 1.0
LATE_S = 2.5
"""When late rewards come: the replicas look once a second for defaults that are due."""

PAUSE_S = 0.02
STORIES = 6
SILENT, LATE = 4, 5


def furnish(client: RouterClient) -> None:
    """The pools and tenants that reporters need."""
    admin = client.admin
    admin.create_pool("main", seed=7, learner=LEARNERS["main"])
    admin.create_pool(
        "assuming",
        seed=8,
        learner=LEARNERS["assuming"],
        default_reward=DEFAULT_REWARD,
        default_reward_deadline_s=DEFAULT_AFTER_S,
    )
    admin.create_pool("recalling", seed=9, learner=LEARNERS["recalling"])
    for tenant_id, pool_id in POOLS.items():
        admin.put_arm(pool_id, "small", input_usd_per_mtok="0.15", output_usd_per_mtok="0.6", max_output_tokens=1000)
        admin.put_arm(pool_id, "large", input_usd_per_mtok="2.5", output_usd_per_mtok="10", max_output_tokens=1000)
        admin.create_tenant(tenant_id, pool_id, limit_usd=1000, expected_calls=100_000)


@dataclass(slots=True)
class Told:
    """What a caller knows of a decision: what it has reported last and was told to be taken.

    `acknowledged_s`: when it was told so, of the decision and of every report that changed something.
    """

    tenant_id: str
    story: int
    acknowledged_s: list[float]
    cost_nusd: int = 0
    reward: float | None = None
    is_withdrawn: bool = False


@dataclass
class Reporters:
    """Callers, spread over servers; whoever does not answer one, the next is asked."""

    targets: list[str]
    callers: int = 6
    pause_s: float = PAUSE_S
    told: dict[str, Told] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    faults: list[tuple[float, RouterError]] = field(default_factory=list)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Callers at work, on a thread of their own; they finish what they have begun."""
        stop = Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._flow(stop))
            except BaseException as fault:  # noqa: BLE001 - raised where the thread is joined
                failed.append(fault)

        thread = Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]

    def wrong(self) -> list[RouterError]:
        """Faults that nothing excuses."""
        return [fault for _, fault in self.faults if fault.code not in PASSING]

    async def _flow(self, stop: Event) -> None:
        clients = [AsyncRouterClient(target, timeout_s=TIMEOUT_S) for target in self.targets]
        try:
            await asyncio.gather(*(self._call(clients, caller, stop) for caller in range(self.callers)))
        finally:
            for client in clients:
                await client.close()

    async def _call(self, clients: list[AsyncRouterClient], caller: int, stop: Event) -> None:
        late: list[tuple[float, str]] = []
        order = [clients[(caller + step) % len(clients)] for step in range(len(clients))]
        for number in itertools.count():
            if stop.is_set():
                break
            await self._decide(order, caller, number, late)
            await self._reward_late(order, late, time.monotonic() - LATE_S)
            await asyncio.sleep(self.pause_s)
        await asyncio.sleep(LATE_S)
        await self._reward_late(order, late, time.monotonic())

    async def _decide(
        self, order: list[AsyncRouterClient], caller: int, number: int, late: list[tuple[float, str]]
    ) -> None:
        tenant_id, story = TENANTS[number % len(TENANTS)], number // len(TENANTS) % STORIES
        fields = {"tenant_id": tenant_id, "query": f"question {number % 50}", "max_output_tokens": 50}
        route = await self._until_told(order, "route", **fields, request_id=f"{caller}-{number}")
        decision_id = route.decision_id
        self.told[decision_id] = Told(tenant_id, story, [time.monotonic()])
        if story == LATE:
            late.append((time.monotonic(), decision_id))
        reward = {"reward": 0.5} if story == 0 else {}
        if await self._bill(order, decision_id, 1000 + number, **reward) and story in (1, 2, 3):
            await self._reward(order, decision_id, 0.75)
            if story == 2:
                await self._reward(order, decision_id, 0.125, correct=True)
                await self._bill(order, decision_id, 2000 + number, correct=True)
            elif story == 3:
                await self._reward(order, decision_id, None, retract=True)

    async def _bill(self, order: list[AsyncRouterClient], decision_id: str, cost_nusd: int, **more: Any) -> bool:
        """Report a bill twice, as one report; whether the decision was there."""
        fields = {"cost_nusd": cost_nusd, "output_tokens": cost_nusd % 97, "idempotency_key": f"bill {cost_nusd}"}
        for _ in range(2):
            if await self._feedback(order, decision_id, **fields, **more) is None:
                return False
            told = self.told[decision_id]
            if told.cost_nusd != cost_nusd:
                told.acknowledged_s.append(time.monotonic())
                told.cost_nusd, told.reward = cost_nusd, more.get("reward", told.reward)
        return True

    async def _reward(
        self, order: list[AsyncRouterClient], decision_id: str, reward: float | None, **more: Any
    ) -> None:
        """Report a reward (None: take it back) twice, as one report."""
        given = {} if reward is None else {"reward": reward}
        for attempt in range(2):
            if await self._feedback(order, decision_id, **given, **more, idempotency_key=f"reward {reward}") is None:
                return
            if not attempt:
                told = self.told[decision_id]
                told.acknowledged_s.append(time.monotonic())
                told.reward, told.is_withdrawn = reward, reward is None

    async def _reward_late(
        self, order: list[AsyncRouterClient], late: list[tuple[float, str]], before_s: float
    ) -> None:
        while late and late[0][0] < before_s:
            _, decision_id = late.pop(0)
            if decision_id not in self.lost:
                await self._reward(order, decision_id, 0.875)

    async def _feedback(self, order: list[AsyncRouterClient], decision_id: str, **fields: Any) -> Any:
        """The answer; None if the decision is not there any more."""
        try:
            tenant_id = self.told[decision_id].tenant_id
            return await self._until_told(order, "feedback", decision_id, tenant_id=tenant_id, **fields)
        except DecisionNotFound:
            self.lost.add(decision_id)
            return None

    async def _until_told(self, order: list[AsyncRouterClient], method: str, *args: Any, **fields: Any) -> Any:
        """The answer of whichever server gives one, however long that takes while the reason may pass."""
        for client in itertools.cycle(order):
            call: Callable[..., Awaitable[Any]] = getattr(client, method)
            try:
                return await call(*args, **fields)
            except DecisionNotFound:
                raise
            except RouterError as fault:
                self.faults.append((time.monotonic(), fault))
                if fault.code not in PASSING:
                    raise
                await asyncio.sleep(0.05)
        raise AssertionError("there are no servers")
