"""The store as replicas reach it: calls take turns, get lost before or after they took effect, come twice or late.

Faults are those the ports allow: an interrupted call raises StoreUnavailable, and whether it took (or will yet take)
effect is unknown. The store itself is exact; each call that reaches it is shown to the checkers at that very moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, cast

from bandit_router.adapters.memory.store import MemoryStore
from bandit_router.ports.catalog import Catalog, VersionConflict
from bandit_router.ports.events import EventLog
from bandit_router.ports.ledger import AccountMissing, Ledger, StoreUnavailable
from bandit_router.ports.snapshots import SnapshotStore
from bandit_router_sim.world.acts import Act
from bandit_router_sim.world.dice import Dice
from bandit_router_sim.world.scheduler import Scheduler, turn

_ANSWERS = (AccountMissing, VersionConflict, ValueError)
"""Errors that are a store's answer (LimitError is a ValueError)."""

_REPEATABLE = frozenset({"ledger.hold", "ledger.commit", "ledger.read", "snapshots.acquire", "snapshots.save"})
"""Calls that the ports declare safe to repeat."""

_STAYS_ALIVE = 0.5
"""Chance that a call on its way when its sender dies takes effect later."""


class Fate(Enum):
    """What becomes of a call."""

    FINE = "fine"
    LOST = "lost"
    UNHEARD = "unheard"
    LATE = "late"
    TWICE = "twice"


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities per call."""

    lost: float = 0.02
    unheard: float = 0.03
    late: float = 0.015
    twice: float = 0.02
    delay: float = 0.5

    def fate(self, dice: Dice) -> Fate:
        """The fate of one call."""
        left = dice.uniform()
        for fate in (Fate.LOST, Fate.UNHEARD, Fate.LATE, Fate.TWICE):
            left -= getattr(self, fate.value)
            if left < 0.0:
                return fate
        return Fate.FINE


CALM = Faults(lost=0.0, unheard=0.0, late=0.0, twice=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """A call that has reached the store: what was asked, and what was answered or raised. `ghost`: nobody waits."""

    act: Act
    call: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    answer: Any
    error: Exception | None
    ghost: bool


Method = Callable[..., Awaitable[Any]]
Watch = Callable[[Effect], None]


class Network:
    """Carries calls. `watch` is called at the moment a call takes effect."""

    def __init__(self, dice: Dice, scheduler: Scheduler, watch: Watch) -> None:
        self._dice = dice
        self._scheduler = scheduler
        self._watch = watch
        self._ghosts: list[Callable[[], object]] = []
        self.faults = CALM
        self.is_down = False

    async def call(self, name: str, method: Method, *args: Any, **options: Any) -> Any:
        """One call of whoever has the turn."""
        act = self._scheduler.current
        assert act is not None
        execute = partial(self._execute, act, name, method, args, options)
        fate = Fate.LOST if self.is_down else self.faults.fate(self._dice)
        await self._travel(execute)
        if fate is Fate.LATE:
            self._ghosts.append(partial(execute, ghost=True))
        act.away = act.away or fate in (Fate.LATE, Fate.LOST, Fate.UNHEARD)
        if fate in (Fate.LATE, Fate.LOST):
            raise StoreUnavailable(f"{name}: {fate.value}")
        effect = execute(ghost=False)
        if fate is Fate.TWICE and name in _REPEATABLE:
            effect = execute(ghost=False)
        await self._delays()
        if fate is Fate.UNHEARD:
            raise StoreUnavailable(f"{name}: {fate.value}")
        if effect.error is not None:
            raise effect.error
        return effect.answer

    def haunt(self) -> None:
        """Let one of the calls that are still on their way take effect."""
        if self._ghosts:
            self._ghosts.pop(self._dice.below(len(self._ghosts)))()

    def arrive(self) -> None:
        """What is still on its way takes effect now."""
        while self._ghosts:
            self.haunt()

    def rest(self) -> None:
        """No more faults."""
        self.faults, self.is_down = CALM, False
        self.arrive()

    async def _travel(self, execute: Callable[..., Effect]) -> None:
        try:
            await self._delays()
        except GeneratorExit:
            if self._dice.chance(_STAYS_ALIVE):
                self._ghosts.append(partial(execute, ghost=True))
            raise

    async def _delays(self) -> None:
        while self._dice.chance(self.faults.delay):
            await turn()

    def _execute(
        self, act: Act, name: str, method: Method, args: tuple[Any, ...], options: dict[str, Any], *, ghost: bool
    ) -> Effect:
        answer, error = None, None
        try:
            answer = at_once(method(*args, **options))
        except _ANSWERS as refusal:
            error = refusal
        effect = Effect(act, name, args, options, answer, error, ghost)
        self._watch(effect)
        return effect


def at_once(call: Awaitable[Any]) -> Any:
    """The answer of a call that never waits, as those of the memory store."""
    try:
        call.__await__().send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the memory store waits for nothing")


class _Remote:
    """One part of the store; every method of it is a call over the network."""

    def __init__(self, name: str, part: object, network: Network) -> None:
        self._name, self._part, self._network = name, part, network

    def __getattr__(self, method: str) -> Method:
        return partial(self._network.call, f"{self._name}.{method}", getattr(self._part, method))


@dataclass(frozen=True, slots=True, eq=False)
class RemoteStore:
    """Implements the service's `Store` over a network."""

    ledger: Ledger
    events: EventLog
    snapshots: SnapshotStore
    catalog: Catalog

    @classmethod
    def over(cls, network: Network, store: MemoryStore) -> RemoteStore:
        """The memory store at the other end."""
        return cls(
            ledger=cast(Ledger, _Remote("ledger", store.ledger, network)),
            events=cast(EventLog, _Remote("events", store.events, network)),
            snapshots=cast(SnapshotStore, _Remote("snapshots", store.snapshots, network)),
            catalog=cast(Catalog, _Remote("catalog", store.catalog, network)),
        )
