from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bandit_router.ports.ledger import StoreUnavailable
from bandit_router_sim.world.acts import Act, ActKind
from bandit_router_sim.world.dice import Dice
from bandit_router_sim.world.failure import Violation
from bandit_router_sim.world.network import Effect, Faults, Network
from bandit_router_sim.world.scheduler import Scheduler, turn

NEVER = Faults(lost=0, unheard=0, late=0, twice=0, delay=0.5)


def act(name: str, replica: str = "r0") -> Act:
    return Act(ActKind.ROUTE, name, replica)


async def note(log: list[str], name: str, turns: int = 3) -> None:
    for number in range(turns):
        log.append(f"{name}{number}")
        await turn()


def interleaving(seed: int) -> list[str]:
    scheduler, log = Scheduler(Dice(seed)), list[str]()
    for name in "abc":
        scheduler.spawn(act(name), note(log, name))
    scheduler.drain()
    return log


def test_the_interleaving_is_a_function_of_the_seed() -> None:
    assert interleaving(1) == interleaving(1)
    assert len({tuple(interleaving(seed)) for seed in range(10)}) > 5


def test_a_job_that_waits_for_a_lock_is_passed_over_until_it_is_free() -> None:
    log: list[str] = []

    async def locked(lock: asyncio.Lock, name: str) -> None:
        async with lock:
            await note(log, name)

    async def play() -> None:
        scheduler, lock = Scheduler(Dice(1)), asyncio.Lock()
        for name in "ab":
            scheduler.spawn(act(name), locked(lock, name))
        scheduler.drain()

    asyncio.run(play())
    assert sorted(log[:3]) == log[:3]
    assert log[0][0] != log[3][0]


def test_jobs_that_wait_for_each_other_for_ever_are_a_violation() -> None:
    async def play() -> None:
        scheduler = Scheduler(Dice(1))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        scheduler.spawn(act("stuck"), asyncio.wait_for(future, None))
        with pytest.raises(Violation, match="stuck"):
            scheduler.drain()
        scheduler.close()

    asyncio.run(play())


def test_a_dead_replicas_jobs_never_go_on() -> None:
    scheduler, log = Scheduler(Dice(1)), list[str]()
    scheduler.spawn(act("a", "r0"), note(log, "a", 100))
    scheduler.spawn(act("b", "r1"), note(log, "b", 2))
    for _ in range(6):
        scheduler.step()
    assert [dead.name for dead in scheduler.kill("r0")] == ["a"]
    seen = len([line for line in log if line.startswith("a")])
    scheduler.drain()
    assert len([line for line in log if line.startswith("a")]) == seen


class Wire:
    """A network to a method that counts, and what came of a call."""

    def __init__(self, faults: Faults, seed: int = 1) -> None:
        self.scheduler = Scheduler(Dice(seed))
        self.effects: list[Effect] = []
        self.network = Network(Dice(seed), self.scheduler, self.effects.append)
        self.network.faults = faults
        self.answer: object = None

    async def method(self, number: int) -> int:
        return number + 1

    async def call(self, name: str) -> None:
        try:
            self.answer = await self.network.call(name, self.method, 1)
        except StoreUnavailable as fault:
            self.answer = fault

    def begin(self, name: str = "ledger.hold") -> Any:
        self.scheduler.spawn(act("a"), self.call(name))

    def run(self, name: str = "ledger.hold") -> tuple[bool, int]:
        """Whether it was answered, and how often it has taken effect."""
        self.begin(name)
        self.scheduler.drain()
        return self.answer == 2, len(self.effects)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (NEVER, (True, 1)),
        (Faults(lost=1), (False, 0)),
        (Faults(lost=0, unheard=1), (False, 1)),
        (Faults(lost=0, unheard=0, late=1), (False, 0)),
        (Faults(lost=0, unheard=0, late=0, twice=1), (True, 2)),
    ],
    ids=["fine", "lost", "unheard", "late", "twice"],
)
def test_a_call_meets_its_fate(faults: Faults, expected: tuple[bool, int]) -> None:
    assert Wire(faults).run() == expected


def test_a_late_call_takes_effect_after_its_caller_has_given_up() -> None:
    wire = Wire(Faults(lost=0, unheard=0, late=1))
    wire.run()
    wire.network.arrive()
    assert [effect.ghost for effect in wire.effects] == [True]


def test_calls_that_are_not_safe_to_repeat_are_never_repeated() -> None:
    assert Wire(Faults(lost=0, unheard=0, late=0, twice=1)).run("ledger.edit_budget") == (True, 1)


def test_nothing_reaches_a_store_that_is_down() -> None:
    wire = Wire(NEVER)
    wire.network.is_down = True
    assert wire.run() == (False, 0)
    wire.network.rest()
    assert wire.run() == (True, 1)


def test_a_call_on_its_way_when_its_sender_dies_takes_effect_or_not() -> None:
    effects = set()
    for seed in range(30):
        wire = Wire(Faults(lost=0, unheard=0, late=0, twice=0, delay=0.9), seed)
        wire.begin()
        wire.scheduler.step()
        wire.scheduler.kill("r0")
        wire.network.arrive()
        effects.add(len(wire.effects))
    assert effects == {0, 1}


def test_dice_follow_their_weights() -> None:
    dice = Dice(3)
    rolls = [dice.weighted({"a": 3.0, "b": 1.0}) for _ in range(4000)]
    assert 0.72 < rolls.count("a") / len(rolls) < 0.78
    assert {dice.between(2, 4) for _ in range(100)} == {2, 3, 4}
    assert all(1 <= dice.spread(1, 1000) <= 1000 for _ in range(1000))
