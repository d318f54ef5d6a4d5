"""The clients and the in-process router: results, refusals as errors, retries, and the fallback."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess

from bandit_router import AsyncRouterClient, Route, Router, RouterClient, RouterError
from bandit_router.client_calls import AsyncCalls
from bandit_router.errors import (
    BudgetExhausted,
    DecisionExpired,
    DecisionNotFound,
    InvalidRequest,
    NoFeasibleArm,
    ResourceNotFound,
    RouterUnreachable,
    StoreAway,
)
from tests.integration.conftest import fill

MADE_LONG_AGO = "p14-018b76daa800-gvlneajblkg6wcxfsa4657prqy"

SLOW_GREETING_S = 0.5


@pytest.fixture
def dead_address() -> Iterator[str]:
    """An address that nobody answers on: bound, but never listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_explain_shows_every_arm(client: RouterClient) -> None:
    decision = client.route(query="hello", explain=True, features={"hour": 3.0})
    assert [arm.arm_id for arm in decision.arms] == ["large", "small"]
    chosen = next(arm for arm in decision.arms if arm.arm_id == decision.arm_id)
    assert (chosen.propensity, chosen.hold_nusd) == (decision.propensity, decision.hold_nusd)
    assert client.route(query="hello").arms == ()


def test_embeddings_are_routed(client: RouterClient) -> None:
    assert client.route(tenant_id="vec", embedding=[0.5] * 8, encoder_id="vector:8").arm_id == "only"


def test_refusals_come_back_with_what_to_act_on(client: RouterClient) -> None:
    with pytest.raises(BudgetExhausted) as poor:
        client.route(query="hello", tenant_id="poor")
    assert (poor.value.tenant_id, poor.value.free_nusd, poor.value.retry_after_s) == ("poor", 1000, None)
    assert poor.value.least_hold_nusd > 1000
    with pytest.raises(NoFeasibleArm) as excluded:
        client.route(query="hello", max_cost_nusd=0)
    assert excluded.value.excluded == {"large": "max_cost_nusd", "small": "max_cost_nusd"}
    with pytest.raises(ResourceNotFound) as missing:
        client.admin.get_pool("nothing")
    assert (missing.value.kind, missing.value.resource_id) == ("pool", "nothing")
    assert str(missing.value) == "pool 'nothing' does not exist"


def test_decisions_that_are_gone_are_told_from_those_that_never_were(client: RouterClient) -> None:
    with pytest.raises(DecisionExpired):
        client.feedback(MADE_LONG_AGO, reward=1.0)
    with pytest.raises(DecisionNotFound) as unknown:
        client.feedback("nonsense", reward=1.0)
    assert unknown.value.decision_id == "nonsense"


@pytest.mark.parametrize("fields", [{"query": "q", "prompt_tokens": "many"}, {"query": "q", "nonsense": 1}, {}])
def test_what_cannot_be_sent_is_an_invalid_request(client: RouterClient, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        client.route(**fields)  # type: ignore[arg-type]


def test_amounts_in_usd_are_exact(client: RouterClient) -> None:
    client.admin.create_tenant("exact", "main", limit_usd="0.000000003")
    assert client.admin.get_budget("exact").limit_nusd == 3
    assert client.admin.grant_budget("exact", amount_usd=0.1, reason="test").limit_nusd == 100_000_003
    assert client.admin.set_budget_limit("exact", limit_nusd=5).limit_nusd == 5
    with pytest.raises(InvalidRequest):
        client.admin.grant_budget("exact")


def test_lists_are_complete(client: RouterClient) -> None:
    assert [pool.pool_id for pool in client.admin.list_pools()] == ["main", "vectors"]
    assert [arm.arm_id for arm in client.admin.list_arms("main")] == ["large", "small"]
    assert {"acme", "poor", "vec"} <= {tenant.tenant_id for tenant in client.admin.list_tenants()}


async def check_interface(router: AsyncCalls) -> None:
    """What every asynchronous router does alike."""
    decision = await router.route(query="hello")
    assert decision.arm_id in ("small", "large")
    assert (await router.feedback(decision.decision_id, cost_nusd=1, reward=1.0)).status == "APPLIED"
    assert (await router.feedback("", reward=1.0)).status == "SKIPPED"
    with pytest.raises(BudgetExhausted):
        await router.route(query="hello", tenant_id="poor")
    with pytest.raises(InvalidRequest):
        await router.route(query="hello", min_expected_reward=2.0)
    routes = await router.route_batch([{"query": "a"}, {"query": "b", "tenant_id": "nobody"}])
    assert isinstance(routes[0], Route)
    assert isinstance(routes[1], ResourceNotFound)
    results = await router.feedback_batch([{"decision_id": routes[0].decision_id, "reward": 0.0}, {"decision_id": ""}])
    assert [getattr(result, "status", None) for result in results] == ["APPLIED", "SKIPPED"]


async def test_the_async_client_is_a_router(server: ServerProcess) -> None:
    async with AsyncRouterClient(server.listen, tenant_id="acme", timeout_s=20) as client:
        await check_interface(client)
        assert (await client.admin.get_budget("acme")).decisions > 0


async def test_a_router_in_this_process_has_the_same_interface(tmp_path: Path) -> None:
    async with Router.open(data_dir=tmp_path / "data", tenant_id="acme", timeout_s=20) as router:
        admin = router.admin
        await admin.create_pool("main")
        await admin.put_arm("main", "small", input_usd_per_mtok="0.15", output_usd_per_mtok="0.6")
        await admin.put_arm("main", "large", input_usd_per_mtok="2.5", output_usd_per_mtok="10")
        await admin.create_tenant("acme", "main", limit_usd=10)
        await admin.create_tenant("poor", "main", limit_usd=0)
        await check_interface(router)


def test_without_a_router_a_client_fails_in_time(dead_address: str) -> None:
    with RouterClient(dead_address, tenant_id="acme", timeout_s=0.5) as client:
        started_s = time.monotonic()
        with pytest.raises(RouterError) as caught:
            client.route(query="hello")
        assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        assert time.monotonic() - started_s < 2.0


def test_without_a_router_a_fallback_arm_answers(dead_address: str) -> None:
    with RouterClient(dead_address, tenant_id="acme", timeout_s=0.5, fallback_arm_id="small") as client:
        decision = client.route(query="hello")
        assert (decision.arm_id, decision.is_fallback, decision.decision_id) == ("small", True, "")
        assert client.feedback(decision.decision_id, reward=1.0).status == "SKIPPED"
        assert all(isinstance(route, Route) for route in client.route_batch([{"query": "a"}, {"query": "b"}]))


async def test_without_a_router_the_async_client_falls_back_too(dead_address: str) -> None:
    async with AsyncRouterClient(dead_address, tenant_id="acme", timeout_s=0.5, fallback_arm_id="small") as client:
        assert (await client.route(query="hello")).is_fallback


def test_a_fallback_arm_does_not_hide_refusals(server: ServerProcess) -> None:
    with server.client(tenant_id="poor", fallback_arm_id="small") as client:
        with pytest.raises(BudgetExhausted):
            client.route(query="hello")
        assert isinstance(client.route_batch([{"query": "hello"}])[0], BudgetExhausted)


def test_a_router_that_hangs_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client:
        fill(client)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with server.client(tenant_id="acme", timeout_s=0.3, fallback_arm_id="large") as hasty:
                assert hasty.route(query="hello").is_fallback
        finally:
            os.kill(server.process.pid, signal.SIGCONT)


def test_a_router_that_takes_long_to_greet_is_waited_for(server: ServerProcess) -> None:
    server.process.send_signal(signal.SIGSTOP)
    resumption = threading.Timer(SLOW_GREETING_S, server.process.send_signal, [signal.SIGCONT])
    resumption.start()
    try:
        with server.client(tenant_id="acme") as client:
            assert client.route(query="q", prompt_tokens=10).decision_id
    finally:
        resumption.join()


def test_calls_survive_a_restart_of_the_router(tmp_path: Path) -> None:
    """Retries of the channel bridge the gap; whoever is told UNAVAILABLE anyway repeats with the same request id."""
    with ServerProcess(tmp_path / "data") as first:
        listen = first.listen
        client = first.client(tenant_id="acme")
        fill(client)
        decided: list[str] = []
        done = threading.Event()

        def traffic() -> None:
            number = 0
            while not done.is_set() or number < 20:
                try:
                    decided.append(client.route(query="hello", request_id=f"r{number}").decision_id)
                    number += 1
                except (RouterUnreachable, StoreAway):
                    time.sleep(0.05)

        thread = threading.Thread(target=traffic)
        thread.start()
        assert first.terminate() == 0
        with ServerProcess(tmp_path / "data", listen=listen) as second:
            done.set()
            thread.join()
            assert second.listen == listen
            assert client.admin.get_budget("acme").decisions == len(decided) == len(set(decided))
        client.close()
