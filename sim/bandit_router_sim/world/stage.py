"""What the acts of a world share: time, dice, replicas, the network between them and the store, and the watch."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from bandit_router.adapters.encoding.vector import VectorEncoder
from bandit_router.adapters.memory.clock import ManualClock
from bandit_router.adapters.memory.entropy import SeededEntropy
from bandit_router.adapters.memory.store import MemoryStore
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.contexts import EncoderHandle
from bandit_router.service.retention import Retention
from bandit_router_sim.replay.quiet import QuietObserver
from bandit_router_sim.world.acts import Act, ActKind
from bandit_router_sim.world.dice import Dice
from bandit_router_sim.world.failure import Trace
from bandit_router_sim.world.founding import EMBEDDING_LENGTH, start_ms
from bandit_router_sim.world.network import Network, RemoteStore
from bandit_router_sim.world.scheduler import Scheduler
from bandit_router_sim.world.watch import Watch

_KEEP_S = (0.0, 3_600.0, 7 * 86_400.0)
_KEEP_NEWEST = (0, 20, 50_000)
"""Some worlds drop events as soon as they may."""

_VECTORS = EncoderHandle(VectorEncoder(EMBEDDING_LENGTH), ordered=True)


@dataclass(slots=True, eq=False)
class Replica:
    """One server: its services in its present life, and the catalog version it is known to have taken over."""

    name: str
    services: Services
    life: int = 0
    is_ready: bool = False
    view: int = 0
    busy: list[str] = field(default_factory=list)


class Stage:
    """One world's furniture."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Dice(seed)
        self.trace = Trace()
        self.clock = ManualClock(start_ms(self.dice))
        self.store = MemoryStore(self.clock)
        self.scheduler = Scheduler(self.dice)
        self.watch = Watch(self.store, self.clock, self.trace)
        self.network = Network(self.dice, self.scheduler, self.watch)
        self.observer = QuietObserver()
        self.replicas: list[Replica] = []

    def ready(self) -> list[Replica]:
        """Replicas that serve."""
        return [replica for replica in self.replicas if replica.is_ready]

    def make_services(self, name: str, life: int) -> Services:
        """A replica's services; every life has ids of its own."""
        return assemble(
            RemoteStore.over(self.network, self.store),
            clock=self.clock,
            entropy=SeededEntropy(hash_of(self.seed, name, life)),
            encoders=lambda _: _VECTORS,
            observer=self.observer,
            retention=Retention(_KEEP_S[self.seed % 3], _KEEP_NEWEST[self.seed // 3 % 3]),
        )

    def begin(self, kind: ActKind, what: str, replica: Replica) -> Act:
        """An act on a replica, as of now."""
        name = f"{replica.name}.{replica.life} {kind.value} {what}".rstrip()
        self.trace.add(f"{self.clock.now_ms()} {name} begins")
        return Act(kind, name, replica.name, oldest_view=replica.view)

    def spawn(self, act: Act, run: Coroutine[Any, Any, None]) -> None:
        """Let the act take its turns with the others."""
        self.scheduler.spawn(act, run)

    def tell(self, act: Act, what: str) -> None:
        """Note how an act ended."""
        self.trace.add(f"{self.clock.now_ms()} {act.name} -> {what}")


def hash_of(seed: int, name: str, life: int) -> int:
    """A number for each life of each replica of each world."""
    return (seed * 1_000 + int(name.removeprefix("r"))) * 1_000_000 + life
