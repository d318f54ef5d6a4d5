"""What every call goes through: rules, deadline, errors without internals, metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc.status_pb2 import Status

from bandit_router.adapters.grpc.errors import DeadlineExceeded, from_status
from bandit_router.adapters.grpc.guard import Guard
from bandit_router.core.errors import InvalidRequest, ResourceNotFound, RouterError, StateUnreadable, StoreAway
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.schema_watch import SchemaWatch
from bandit_router.testing import NullObserver
from bandit_router.v1 import router_pb2

REQUEST = router_pb2.RouteRequest(tenant_id="acme", query="hello")
RESPONSE = router_pb2.RouteResponse(arm_id="small")


class Recorder(NullObserver):
    def __init__(self) -> None:
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.counts: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counts[(name, *labels.values())] += int(amount)

    def note(self, event: str, **facts: object) -> None:
        self.notes.append((event, facts))


@pytest.fixture
def observer() -> Recorder:
    return Recorder()


@pytest.fixture
def guard(observer: Recorder) -> Guard:
    return Guard(observer, SchemaWatch(observer))


def failing(fault: Exception, cause: Exception | None = None) -> object:
    async def handler(_: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        raise fault from cause

    return handler


async def test_a_good_call_passes(guard: Guard) -> None:
    async def handler(_: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        return RESPONSE

    assert await guard.run("Route", REQUEST, handler) == RESPONSE


async def test_no_call_is_answered_once_the_store_needs_newer_code(observer: Recorder) -> None:
    schema = SchemaWatch(observer, known=1)
    guard = Guard(observer, schema)

    async def handler(_: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        return RESPONSE

    schema.told(1)
    assert await guard.run("Route", REQUEST, handler) == RESPONSE
    schema.told(2)
    with pytest.raises(StateUnreadable, match="needs schema version 2, this code knows up to 1"):
        await guard.run("Route", REQUEST, handler)
    status = await guard.item("Route", REQUEST, handler)
    assert isinstance(status, Status)
    assert from_status(status).reason == "STATE_UNREADABLE"


class Call:
    """What the guard needs of a call's context."""

    async def abort(self, code: grpc.StatusCode, message: str, **_: object) -> None:
        raise grpc.aio.AbortError(f"{code.name}: {message}")


async def test_a_stream_ends_when_the_store_comes_to_need_newer_code(observer: Recorder) -> None:
    schema = SchemaWatch(observer, known=1)

    async def handler(_: router_pb2.RouteRequest) -> AsyncIterator[router_pb2.RouteResponse]:
        yield RESPONSE
        schema.told(2)
        yield RESPONSE

    stream = Guard(observer, schema).streaming("Stream", handler)(REQUEST, Call())  # type: ignore[arg-type]
    assert await anext(stream) == RESPONSE
    with pytest.raises(grpc.aio.AbortError, match="UNAVAILABLE: the store cannot be read"):
        await anext(stream)
    assert observer.counts["rpc_requests", "Stream", "UNAVAILABLE"] == 1


async def test_no_upload_is_taken_once_the_store_needs_newer_code(observer: Recorder) -> None:
    schema = SchemaWatch(observer, known=1)
    schema.told(2)

    async def handler(_: AsyncIterator[router_pb2.RouteRequest]) -> router_pb2.RouteResponse:
        raise AssertionError("called")

    class Context:
        def time_remaining(self) -> float | None:
            return None

        async def abort(self, code: grpc.StatusCode, message: str, **_: object) -> None:
            assert code is grpc.StatusCode.UNAVAILABLE
            raise grpc.RpcError(message)

    async def no_parts() -> AsyncIterator[router_pb2.RouteRequest]:
        return
        yield

    with pytest.raises(grpc.RpcError, match="needs schema version 2"):
        await Guard(observer, schema).receiving("Import", handler)(no_parts(), Context())  # type: ignore[arg-type]


async def test_a_broken_rule_never_reaches_the_handler(guard: Guard) -> None:
    async def handler(_: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        raise AssertionError("called")

    with pytest.raises(InvalidRequest):
        await guard.run("Route", router_pb2.RouteRequest(), handler)


async def test_an_unexpected_fault_is_logged_once_and_not_told(guard: Guard, observer: Recorder) -> None:
    fault = KeyError("secret")
    with pytest.raises(RouterError) as caught:
        await guard.run("Route", REQUEST, failing(fault))  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in caught.value.message
    assert observer.notes == [("unexpected_error", {"method": "Route", "exc_info": fault})]


@pytest.mark.parametrize(
    "handler",
    [
        failing(StoreUnavailable("Error 111 connecting to 10.0.0.3:6379")),
        failing(StoreAway("Error 111 connecting to 10.0.0.3:6379"), StoreUnavailable("10.0.0.3")),
    ],
)
async def test_an_absent_store_is_told_without_its_address_and_not_logged(
    guard: Guard, observer: Recorder, handler: object
) -> None:
    with pytest.raises(StoreAway) as caught:
        await guard.run("Route", REQUEST, handler)  # type: ignore[arg-type]
    assert "10.0.0.3" not in caught.value.message
    assert observer.notes == []


async def test_the_deadline_ends_a_call(guard: Guard, observer: Recorder) -> None:
    async def handler(_: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        await asyncio.Event().wait()
        return RESPONSE

    with pytest.raises(DeadlineExceeded):
        await guard.run("Route", REQUEST, handler, remaining_s=0.01)
    assert observer.notes == []


async def test_a_time_out_within_is_not_taken_for_the_deadline(guard: Guard, observer: Recorder) -> None:
    with pytest.raises(RouterError) as caught:
        await guard.run("Route", REQUEST, failing(TimeoutError()), remaining_s=10.0)  # type: ignore[arg-type]
    assert caught.value.code == "INTERNAL"
    assert len(observer.notes) == 1


async def test_an_item_fails_as_a_status(guard: Guard, observer: Recorder) -> None:
    handler = failing(ResourceNotFound("tenant", "acme"))
    result = await guard.item("Route", REQUEST, handler)  # type: ignore[arg-type]
    assert isinstance(result, Status)
    assert from_status(result).reason == "TENANT_NOT_FOUND"
    assert observer.counts[("batch_items_failed", "Route", "NOT_FOUND")] == 1
