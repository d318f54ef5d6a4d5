"""One world: a seed decides who does what, when each call takes effect, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from bandit_router_sim.world.acts import ActKind
from bandit_router_sim.world.clients import Clients
from bandit_router_sim.world.failure import DEFAULT_STEPS, Violation, WorldFailure
from bandit_router_sim.world.network import Faults
from bandit_router_sim.world.operators import Operators
from bandit_router_sim.world.rest import Rest
from bandit_router_sim.world.stage import Replica, Stage

_MAX_JOBS = 10
_MAX_TURNS = 12
_GHOST = 0.2
_OUTAGE_ENDS = 0.1
_STORMS = (0.0, 1.0, 1.0, 3.0)
"""How many times the usual share of calls goes wrong."""


@dataclass(frozen=True, slots=True)
class WorldResult:
    """A world that broke no rule. `digest` names its trace: the same seed and steps give the same one."""

    seed: int
    steps: int
    digest: str
    effects: int
    routed: int
    refused: int
    away: int
    reports: int
    trace: tuple[str, ...] = ()


def run_world(seed: int, *, steps: int = DEFAULT_STEPS, keep_trace: bool = False) -> WorldResult:
    """Play a world of so many acts. Raises WorldFailure."""
    world = World(seed)
    try:
        asyncio.run(world.play(steps))
    except Exception as error:
        what = str(error) if isinstance(error, Violation) else f"unexpected {type(error).__name__}: {error}"
        tail = world.stage.trace.tail()
        raise WorldFailure(seed=seed, step=world.step, steps=steps, what=what, tail=tail) from error
    finally:
        world.stage.scheduler.close()
    counts, trace = world.clients.counts, world.stage.trace
    return WorldResult(
        seed=seed,
        steps=steps,
        digest=trace.digest(),
        effects=len(trace.lines),
        routed=counts.routed,
        refused=counts.refused,
        away=counts.away,
        reports=counts.reports,
        trace=tuple(trace.lines) if keep_trace else (),
    )


class World:
    """A world under way. `step` is the number of the act begun last."""

    def __init__(self, seed: int) -> None:
        self.stage = Stage(seed)
        self.clients = Clients(self.stage)
        self.operators = Operators(self.stage, self.clients)
        self.step = 0

    async def play(self, steps: int) -> None:
        """From the founding to the last check. Runs on an event loop, but never waits for it."""
        self._found()
        acts = self._acts()
        for self.step in range(1, steps + 1):
            self._begin(self.stage.dice.weighted(acts))
            self._take_turns()
            self.stage.watch.check_accounts()
        Rest(self.stage, self.clients, self.operators).check()

    def _found(self) -> None:
        """Some replicas start before there is anything, some after."""
        stage, dice = self.stage, self.stage.dice
        first = self.operators.open_replica()
        if dice.chance(0.5):
            self.operators.open_replica()
        stage.scheduler.drain()
        for _ in range(dice.between(1, 2)):
            self.operators.found_pool(first)
            stage.scheduler.drain()
        for _ in range(dice.between(0, 2)):
            self.operators.found_tenant(first)
            stage.scheduler.drain()
        self.operators.open_replica()
        storm = dice.pick(_STORMS)
        usual = Faults()
        stage.network.faults = replace(
            usual, lost=usual.lost * storm, unheard=usual.unheard * storm, late=usual.late * storm
        )

    def _begin(self, act: Callable[[Replica], None]) -> None:
        if self.stage.network.is_down and self.stage.dice.chance(_OUTAGE_ENDS):
            self.operators.outage()
        if ready := self.stage.ready():
            act(self.stage.dice.pick(ready))

    def _take_turns(self) -> None:
        dice, scheduler = self.stage.dice, self.stage.scheduler
        for _ in range(dice.below(_MAX_TURNS)):
            scheduler.step()
        while len(scheduler) > _MAX_JOBS:
            scheduler.step()
        if dice.chance(_GHOST):
            self.stage.network.haunt()

    def _acts(self) -> dict[Callable[[Replica], None], float]:
        clients, operators = self.clients, self.operators
        return {
            clients.ask: 32.0,
            clients.ask_again: 7.0,
            clients.report: 28.0,
            lambda replica: operators.loop(replica, ActKind.REFRESH): 5.0,
            lambda replica: operators.loop(replica, ActKind.LEARN): 9.0,
            lambda replica: operators.loop(replica, ActKind.SWEEP): 4.0,
            lambda replica: operators.loop(replica, ActKind.ASSUME): 4.0,
            operators.edit_budget: 4.0,
            operators.change_arm: 3.0,
            operators.change_tenant: 1.0,
            operators.found_pool: 0.3,
            operators.found_tenant: 0.4,
            operators.stop: 0.5,
            operators.crash: 1.2,
            lambda _: operators.outage(): 0.6,
            lambda _: operators.leap(): 8.0,
        }
