"""Four servers under load and without faults: learning keeps up, and afterwards they all know the same.

LAG_S is the length of the long run, 60 s unless set.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from lags import lags_watched
from learned import assert_all_serve_the_same, assert_is_one_fold_of_the_log, settle
from replicas import Replicas
from reporters import LEARNERS, POOLS, Reporters, furnish
from spread import spread_watched

SHORT_S = 8.0
LONG_S = float(os.environ.get("LAG_S", "60"))
LONG = pytest.param(LONG_S, marks=(pytest.mark.soak, pytest.mark.timeout(LONG_S + 300)))
SERVERS = 4
CALLERS = 12
LAG_P99_S = 2.0
SERVED_P99_S = 1.0


@pytest.mark.parametrize("seconds", [SHORT_S, LONG])
def test_learning_keeps_up_with_load_and_all_servers_come_to_serve_the_same(
    tmp_path: Path, seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        replicas = Replicas(tmp_path, stack, SERVERS, "everysec")
        with replicas.servers[0].client() as client:
            furnish(client)
        reporters = Reporters(replicas.targets, CALLERS, pause_s=0.0)
        watched = spread_watched(replicas)
        with reporters.flowing(), lags_watched(replicas.pages) as lags, watched as spread:
            time.sleep(seconds)
        assert reporters.faults == []
        settle(replicas.store)
        events = sum(assert_is_one_fold_of_the_log(replicas.store, p, learner=LEARNERS[p]) for p in POOLS.values())
        assert_all_serve_the_same(replicas.servers, replicas.store, POOLS)
    median_s, high_s = np.percentile(lags, [50, 99])
    learned_s, served_s = np.percentile(spread, 99, axis=0)
    with capsys.disabled():
        print(
            f"\n{SERVERS} servers, {seconds:g} s: {len(reporters.told)} decisions, {events} events learned once; lag "
            f"{median_s:.2f} s (median of {len(lags)}), {high_s:.2f} s (p99), {max(lags):.2f} s (longest)\n"
            f"by an onlooker's clock, p99 of {len(spread)}: learned after {learned_s:.2f} s, "
            f"served by all servers {served_s:.2f} s later"
        )
    assert high_s < LAG_P99_S
    assert learned_s < LAG_P99_S
    assert served_s < SERVED_P99_S
