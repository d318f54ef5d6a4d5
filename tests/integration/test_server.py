"""A running server: how it starts, what it tells about itself, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from server_process import ServerProcess, metrics_page, refused_start, settled_dump, wait_until

from bandit_router import Route, RouterClient
from bandit_router.errors import RouterError, StoreAway
from bandit_router.v1 import admin_pb2, admin_pb2_grpc
from tests.integration.conftest import fill

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "bandit_router.v1.RouterService", "bandit_router.v1.AdminService")


def health(channel: grpc.Channel, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20).status  # type: ignore[no-any-return]


def store_pid(server: ServerProcess) -> int:
    with server.store() as store:
        return int(store.info("server")["process_id"])


def test_the_ready_line_tells_address_and_pid(server: ServerProcess) -> None:
    assert server.ready["event"] == "ready"
    assert server.ready["pid"] == server.process.pid
    assert not server.listen.endswith(":0")


def test_a_client_without_generated_code_routes_through_reflection(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.listen) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"bandit_router.v1.RouterService", "bandit_router.v1.AdminService"} <= set(database.get_services())
        method = DescriptorPool(database).FindServiceByName("bandit_router.v1.RouterService").FindMethodByName("Route")
        request = GetMessageClass(method.input_type)(tenant_id="acme", query="hello")
        response_class = GetMessageClass(method.output_type)
        call = channel.unary_unary(
            "/bandit_router.v1.RouterService/Route",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_class.FromString,
        )
        response = call(request, timeout=20)
    assert response.arm_id in ("small", "large")
    assert 0 < response.propensity <= 1


def test_health_is_told_per_service(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.listen) as channel:
        assert [health(channel, name) for name in (*SERVICES, "liveness")] == [SERVING] * 4


def test_a_second_server_on_the_directory_is_refused_by_name(server: ServerProcess) -> None:
    refused = refused_start(data_dir=str(server.data_dir), listen="127.0.0.1:0")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    assert str(server.data_dir) in refused.stderr
    assert str(server.process.pid) in refused.stderr


def test_a_taken_address_is_refused_by_name(server: ServerProcess, tmp_path: Path) -> None:
    refused = refused_start(data_dir=str(tmp_path / "data"), listen=server.listen)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert server.listen in refused.stderr


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"workers": 0}, "workers"), ({"data_dirr": "x"}, "data_dirr"), ({"redis_url": "http://x"}, "URL")],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, object], word: str) -> None:
    refused = refused_start(**settings)
    assert refused.returncode == 2
    assert word in refused.stderr
    assert "Traceback" not in refused.stderr


def test_metrics_are_served(tmp_path: Path) -> None:
    port = free_port()
    with ServerProcess(tmp_path / "data", metrics_port=port) as server, server.client(tenant_id="acme") as client:
        fill(client)
        client.route(query="hello")
        with pytest.raises(RouterError):
            client.route(query="hello", tenant_id="nobody")

        def page() -> str:
            return metrics_page(port, timeout_s=20.0)

        # A caller may have its answer a moment before the call is counted.
        wait_until(lambda: 'bandit_router_rpc_seconds_count{method="Route"} 2.0' in page())
        text = page()
    assert 'bandit_router_rpc_requests_total{code="OK",method="Route"} 1.0' in text
    assert 'bandit_router_rpc_requests_total{code="NOT_FOUND",method="Route"} 1.0' in text
    assert "bandit_router_ready 1.0" in text


def test_declared_resources_exist_from_the_start(tmp_path: Path) -> None:
    declared = {
        "pools": [
            {
                "pool_id": "main",
                "arms": [{"arm_id": "small", "input_usd_per_mtok": 0.15, "output_usd_per_mtok": "0.6"}],
            }
        ],
        "tenants": [{"tenant_id": "acme", "pool_id": "main", "limit_usd": 2.5, "window": {"kind": "day"}}],
    }
    for _ in range(2):
        with ServerProcess(tmp_path / "data", **declared) as server, server.client(tenant_id="acme") as client:
            assert client.route(query="hello").arm_id == "small"
            assert client.admin.get_tenant("acme").limit_nusd == 2_500_000_000
            assert server.terminate() == 0


def test_calls_under_way_finish_before_the_server_ends(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client:
        fill(client)
        batch = [{"query": f"question {i}", "max_output_tokens": 1} for i in range(250)]
        started = threading.Event()

        def send() -> list[Route | RouterError]:
            started.set()
            return client.route_batch(batch)  # type: ignore[arg-type]

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(send) for _ in range(4)]
            started.wait()
            wait_until(lambda: client.admin.get_budget("acme").decisions > 0)
            assert server.terminate() == 0
            finished = [route for call in calls for route in call.result()]
        decided = [route for route in finished if isinstance(route, Route)]
        assert len(decided) == 1000
    with ServerProcess(tmp_path / "data") as again, again.client() as client:
        assert client.admin.get_budget("acme").decisions == 1000


def test_a_follower_of_events_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client:
        fill(client)
        with grpc.insecure_channel(server.listen) as channel:
            stream = admin_pb2_grpc.AdminServiceStub(channel).StreamEvents(
                admin_pb2.StreamEventsRequest(pool_id="main", follow=True)
            )
            decision = client.route(query="hello")
            client.feedback(decision.decision_id, reward=1.0)
            assert [event.decision_id for event in next(stream).events] == [decision.decision_id]
            assert server.terminate() == 0
            assert list(stream) == []


def test_events_resume_behind_their_cursor(client: RouterClient, server: ServerProcess) -> None:
    decisions = [client.route(query=f"q{i}").decision_id for i in range(5)]
    for decision_id in decisions:
        client.feedback(decision_id, cost_nusd=10, reward=0.5)
    client.feedback(decisions[0], reward=1.0, correct=True, metrics={"m": 2.0}, latency_ms=9)
    with grpc.insecure_channel(server.listen) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        request = admin_pb2.StreamEventsRequest(pool_id="main", tenant_id="acme")
        responses = list(stub.StreamEvents(request))
        events = [event for response in responses for event in response.events]
        ours = [event for event in events if event.decision_id in decisions]
        assert [event.decision_id for event in ours] == [*decisions, decisions[0]]
        last = ours[-1]
        assert (last.reward, last.previous_reward, last.cost_nusd, last.correction) == (1.0, 0.5, 10, True)
        assert last.usage.HasField("cost_nusd")
        assert not last.usage.HasField("input_tokens")
        assert sum(arm.propensity for arm in last.arms) == pytest.approx(1.0)
        assert (dict(last.metrics), last.latency_ms) == ({"m": 2.0}, 9)
        request.cursor = responses[-1].cursor
        assert list(stub.StreamEvents(request)) == []
        client.feedback(decisions[1], retract=True)
        rest = [event for response in stub.StreamEvents(request) for event in response.events]
        assert [event.decision_id for event in rest] == [decisions[1]]
        assert not rest[0].HasField("reward")


def test_a_store_that_hangs_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme", timeout_s=3.0) as client:
        fill(client)
        decision = client.route(query="hello")
        with server.store() as store:
            before = settled_dump(store)
        pid = store_pid(server)
        with grpc.insecure_channel(server.listen) as channel:
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(StoreAway) as refused:
                    client.route(query="hello", request_id="during", timeout_s=10.0)
                with pytest.raises(StoreAway):
                    client.feedback(decision.decision_id, reward=1.0, timeout_s=10.0)
                with pytest.raises(StoreAway):
                    client.admin.get_budget("acme")
                wait_until(lambda: health(channel, "") == NOT_SERVING)
                assert health(channel, "bandit_router.v1.RouterService") == NOT_SERVING
                assert health(channel, "liveness") == SERVING
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (refused.value.reason, refused.value.retry_after_s) == ("STORE_UNAVAILABLE", 1.0)
            assert str(tmp_path) not in refused.value.message
            wait_until(lambda: health(channel, "") == SERVING)
        assert client.route(query="hello", request_id="during").decision_id
        assert client.admin.get_budget("acme").decisions == 2
        assert len(before) > 0
        assert server.log.count("store_away") == 1
        assert "Traceback" not in server.log


def test_an_embedded_store_that_dies_is_revived_with_what_it_had_written(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client:
        fill(client)
        decision = client.route(query="hello")
        os.kill(store_pid(server), signal.SIGKILL)

        def settles() -> bool:
            try:
                return client.feedback(decision.decision_id, cost_nusd=7).settled_cost_nusd == 7
            except StoreAway:
                return False

        wait_until(settles)
        assert client.admin.get_budget("acme").spent_nusd == 7
        assert server.terminate() == 0


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
