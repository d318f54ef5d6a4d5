"""Servers, the learner among them, and their store killed under load: nothing acknowledged is lost or done twice.

Short runs are part of every test run; KILLS_S is the length of each long one, 600 s unless set.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from books import from_records, from_window
from learned import (
    assert_all_serve_the_same,
    assert_is_one_fold_of_the_log,
    assert_settled_and_assumed_once,
    learner_of,
    outcomes_of,
    settle,
    stories_of,
)
from replicas import Replicas
from reporters import DEFAULT_REWARD, LEARNERS, PATIENT, POOLS, SILENT, TENANTS, Reporters, Told, furnish
from server_process import wait_until

from bandit_router.core.outcomes import Outcome, RewardSource
from tests.builders import generator

SHORT_S = 4.0
LONG_S = float(os.environ.get("KILLS_S", "600"))
LONG = pytest.param(LONG_S, marks=(pytest.mark.soak, pytest.mark.timeout(LONG_S + 600)))
SERVERS = 3
HAND_OVER_S = 5.0
QUIET_S = (0.5, 5.0)
"""How long nothing is killed: between these bounds, at random."""


@dataclass
class Kills:
    """What was killed how often, and how long it took until another learner had stored what it learned."""

    replicas: Replicas
    counts: Counter[str] = field(default_factory=Counter)
    hand_overs_s: list[float] = field(default_factory=list)

    def one(self, kind: str) -> None:
        """Kill and replace the learner, a server that does not learn, or the store."""
        self.counts[kind] += 1
        if kind == "store":
            self.replicas.kill_store()
            self.replicas.start_store()
            return
        index = self.replicas.learner()
        if kind == "other server":
            index = (index + 1) % SERVERS
        was = learner_of(self.replicas.store)
        self.replicas.kill(index)
        if kind == "learner":
            self.hand_overs_s.append(self.replicas.hand_over_s(was))
        self.replicas.start(index)


KINDS = ("learner", "other server", "store")


@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize("seconds", [SHORT_S, LONG])
def test_kills_lose_nothing_and_do_nothing_twice(
    tmp_path: Path, fsync: str, seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = generator(7)
    with ExitStack() as stack:
        replicas = Replicas(tmp_path, stack, SERVERS, fsync)
        with replicas.servers[0].client() as client:
            furnish(client)
        reporters, kills = Reporters(replicas.targets), Kills(replicas)
        with reporters.flowing():
            wait_until(lambda: learner_of(replicas.store) != "")
            ends_s = time.monotonic() + seconds
            for kind in KINDS:
                kills.one(kind)
            while time.monotonic() < ends_s:
                time.sleep(dice.uniform(*QUIET_S))
                kills.one(KINDS[dice.integers(len(KINDS))])
        assert reporters.wrong() == []
        assert reporters.lost == set()
        learned = assert_all_is_there_and_right(replicas, reporters)
    with capsys.disabled():
        print(
            f"\nappendfsync {fsync}, {seconds:g} s: {dict(kills.counts)} killed, {len(reporters.told)} decisions, "
            f"{len(reporters.faults)} calls repeated, {learned}; nothing lost, nothing twice; hand-over of learning "
            f"{sorted(kills.hand_overs_s)[len(kills.hand_overs_s) // 2]:.2f} s (median), "
            f"{max(kills.hand_overs_s):.2f} s (slowest)"
        )
    assert max(kills.hand_overs_s) < HAND_OVER_S


def assert_all_is_there_and_right(replicas: Replicas, reporters: Reporters) -> str:
    """The verdict once everything that was reported is learned; what was learned, in words."""
    store = replicas.store
    settle(store)
    events = defaults = 0
    for tenant_id in TENANTS:
        told = {d: found for d, found in reporters.told.items() if found.tenant_id == tenant_id}
        outcomes = outcomes_of(store, tenant_id)
        assert outcomes.keys() == told.keys()
        wrong = [decision_id for decision_id, found in told.items() if not is_as_told(outcomes[decision_id], found)]
        assert wrong == []
        window = from_window([store], tenant_id)
        assert window == from_records([store], tenant_id)
        assert (window.held_nusd, window.decisions) == (0, len(told))
        assert window.spent_nusd == sum(found.cost_nusd for found in told.values())
        pool_id = POOLS[tenant_id]
        stories = stories_of(store, pool_id)
        assert {decision_id: story[-1] for decision_id, story in stories.items()} == outcomes
        defaults += assert_settled_and_assumed_once(stories)
        events += assert_is_one_fold_of_the_log(store, pool_id, learner=LEARNERS[pool_id])
    assert_all_serve_the_same(replicas.servers, store, POOLS)
    assert defaults >= sum(found.story == SILENT and found.tenant_id == PATIENT for found in reporters.told.values())
    return f"{events} events learned once, {defaults} of them default rewards"


def is_as_told(outcome: Outcome, told: Told) -> bool:
    """Whether the record is what callers were told that it is."""
    if told.tenant_id == PATIENT and told.story == SILENT:
        reward = (DEFAULT_REWARD, RewardSource.DEFAULT)
    else:
        reward = (told.reward, RewardSource.WITHDRAWN if told.is_withdrawn else RewardSource.CALLER)
    return outcome.cost_nusd == told.cost_nusd and (outcome.reward, outcome.reward_source) == reward
