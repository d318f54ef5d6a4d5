"""Power cuts under `appendfsync everysec`, while servers live on: the last second may go, and takes nothing with it.

What is left in the store is one whole: its books are right, nothing is settled or learned twice, and the servers, whose
memory was ahead of it, go on from it. POWER_S is the length of the long run, 180 s unless set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
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
from power import Cut, DiskWatch, cut_off, newest_log
from replicas import Replicas
from reporters import LEARNERS, POOLS, Reporters, Told, furnish
from server_process import wait_until
from test_learner_failover import is_as_told

from bandit_router.core.outcomes import Outcome
from tests.builders import generator

CUTS = 3
LONG_S = float(os.environ.get("POWER_S", "180"))
LONG = pytest.param(LONG_S, marks=(pytest.mark.soak, pytest.mark.timeout(LONG_S + 600)))
SERVERS = 2
UNSYNCED_S = 5.0
"""Longer than that nothing is acknowledged and not on disk. Valkey writes to disk every second; a slow disk, or a
machine with more to do than it can, adds to that."""

NOTICED_S = 1.0
"""Within which a caller notices an answer that the store gave before it died."""

AHEAD = ("another_state_stored", "learner_fenced_off", "events_vanished")
"""What a server notes whose memory was ahead of the store."""


@pytest.mark.parametrize("seconds", [0.0, LONG])
def test_a_power_cut_loses_the_last_second_and_nothing_else(
    tmp_path: Path, seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    dice, cuts, waits_s = generator(11), [], []
    with ExitStack() as stack:
        replicas = Replicas(tmp_path, stack, SERVERS, "everysec")
        with replicas.servers[0].client() as client:
            furnish(client)
        reporters = Reporters(replicas.targets)
        began_s = time.monotonic()
        with reporters.flowing():
            while len(cuts) < CUTS or time.monotonic() < began_s + seconds:
                cuts.append(live_and_cut(replicas, dice, waits_s))
            served = len(reporters.told)
            wait_until(lambda: len(reporters.told) > served + 50, 60.0)
        assert reporters.wrong() == []
        assert max(waits_s) < UNSYNCED_S
        assert max(cut.cut_s - cut.safe_s for cut in cuts) < UNSYNCED_S
        verdict = assert_only_the_last_second_is_lost(replicas, reporters, cuts)
        learned = assert_what_is_left_is_whole(replicas)
        noted = sum(server.log.count(note) for server in replicas.servers for note in AHEAD)
    with capsys.disabled():
        median_s, high_s = np.percentile(waits_s, [50, 99])
        print(
            f"\nappendfsync everysec, {len(cuts)} power cuts, {sum(cut.bytes_lost for cut in cuts):,} bytes lost: "
            f"{verdict}; {learned}; servers were ahead of the store {noted} times\nacknowledged and not on disk for "
            f"{median_s:.2f} s (median of {len(waits_s)}), {high_s:.2f} s (p99), {max(waits_s):.2f} s (longest); cuts "
            f"at most {max(cut.cut_s - cut.safe_s for cut in cuts):.2f} s after what was on disk for certain"
        )
    assert noted


def live_and_cut(replicas: Replicas, dice: np.random.Generator, waits_s: list[float]) -> Cut:
    """Some seconds of traffic, then a power cut; sometimes a server dies with it. The store comes back at once or after
    a while."""
    watch = DiskWatch(replicas.valkey.pid, newest_log(replicas.log_folder))
    cut_after_s = time.monotonic() + dice.uniform(1.5, 4.0)
    wait_until(lambda: watch.syncs and time.monotonic() > cut_after_s, 60.0)
    killed = int(dice.integers(SERVERS)) if dice.random() < 0.25 else None
    if killed is not None:
        replicas.kill(killed)
    replicas.kill_store()
    cut_s = time.monotonic()
    watch.end()
    waits_s += watch.waits_s
    share = 0.0 if dice.random() < 0.5 else float(dice.random())
    cut = cut_off(watch, cut_s, share=share)
    time.sleep(dice.choice([0.0, 1.0, 4.0]))
    replicas.start_store()
    if killed is not None:
        replicas.start(killed)
    return cut


def assert_only_the_last_second_is_lost(replicas: Replicas, reporters: Reporters, cuts: list[Cut]) -> str:
    """Whatever the store does not have as callers were told was acknowledged just before a cut; how much that is."""
    settle(replicas.store)
    lost = changed = 0
    for tenant_id in POOLS:
        told = {d: found for d, found in reporters.told.items() if found.tenant_id == tenant_id}
        outcomes = outcomes_of(replicas.store, tenant_id)
        assert reporters.lost & told.keys() <= told.keys() - outcomes.keys()
        lost += len(told.keys() - outcomes.keys())
        different = differing(told, outcomes)
        changed += len(different)
        for decision_id in (told.keys() - outcomes.keys()) | different:
            times_s = told[decision_id].acknowledged_s[: None if decision_id in outcomes else 1]
            assert any(cut.may_have_lost(at_s, slack_s=NOTICED_S) for cut in cuts for at_s in times_s), decision_id
    return f"of {len(reporters.told)} acknowledged decisions {lost} lost and {changed} with a report that was lost"


def differing(told: Mapping[str, Told], outcomes: Mapping[str, Outcome]) -> set[str]:
    """Decisions that are there and not as callers were told."""
    return {d for d, found in told.items() if d in outcomes and not is_as_told(outcomes[d], found)}


def assert_what_is_left_is_whole(replicas: Replicas) -> str:
    """Books, log and learned state agree, nothing happened twice; what was learned, in words."""
    store, events, defaults = replicas.store, 0, 0
    for tenant_id, pool_id in POOLS.items():
        assert from_window([store], tenant_id) == from_records([store], tenant_id)
        stories, outcomes = stories_of(store, pool_id), outcomes_of(store, tenant_id)
        assert {decision_id: story[-1] for decision_id, story in stories.items()} == {
            decision_id: outcome for decision_id, outcome in outcomes.items() if decision_id in stories
        }
        assert all(outcome.bill is None for d, outcome in outcomes.items() if d not in stories)
        defaults += assert_settled_and_assumed_once(stories)
        events += assert_is_one_fold_of_the_log(store, pool_id, learner=LEARNERS[pool_id])
    assert learner_of(store) != ""
    assert_all_serve_the_same(replicas.servers, store, POOLS)
    return f"{events} events learned once, {defaults} of them default rewards"
