"""Every row of the table of errors: its code, its reason, its details, and a state that is left as it was."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status
from server_process import ServerProcess, settled_dump, unchanged

from bandit_router import RouterClient
from bandit_router.adapters.grpc.errors import from_rpc_error
from bandit_router.core.errors import RouterError
from bandit_router.core.partition import make_decision_id
from bandit_router.v1 import admin_pb2, admin_pb2_grpc, resources_pb2, router_pb2, router_pb2_grpc

DAY_MS = 24 * 3_600_000
NEVER_MADE = make_decision_id("acme", now_ms=int(time.time() * 1000), entropy=bytes(16))
MADE_LONG_AGO = make_decision_id("acme", now_ms=int(time.time() * 1000) - 30 * DAY_MS, entropy=bytes(16))

OTHER_ENCODER = {"values": [1.0] * 8, "encoder_id": "vector:9"}


def route(**fields: object) -> router_pb2.RouteRequest:
    given = {"tenant_id": "acme", **fields}
    if "embedding" not in given:
        given.setdefault("query", "hello")
    return router_pb2.RouteRequest(**given)  # type: ignore[arg-type]


def feedback(**fields: object) -> router_pb2.FeedbackRequest:
    return router_pb2.FeedbackRequest(**{"tenant_id": "acme", "decision_id": NEVER_MADE, "reward": 0.5, **fields})  # type: ignore[arg-type]


def put_arm(**fields: object) -> admin_pb2.PutArmRequest:
    given = {"arm_id": "new", "input_usd_per_mtok": "1", "output_usd_per_mtok": "1", **fields}
    return admin_pb2.PutArmRequest(pool_id="main", arm=resources_pb2.Arm(**given))  # type: ignore[arg-type]


def create_pool(**fields: object) -> admin_pb2.CreatePoolRequest:
    return admin_pb2.CreatePoolRequest(pool=resources_pb2.Pool(**{"pool_id": "new", **fields}))  # type: ignore[arg-type]


def create_tenant(**fields: object) -> admin_pb2.CreateTenantRequest:
    given = {"tenant_id": "new", "pool_id": "main", "limit_nusd": 1, **fields}
    return admin_pb2.CreateTenantRequest(tenant=resources_pb2.Tenant(**given))  # type: ignore[arg-type]


INVALID: list[tuple[str, Message, str]] = [
    ("Route", route(tenant_id="a b"), "tenant_id"),
    ("Route", router_pb2.RouteRequest(tenant_id="acme"), "input"),
    ("Route", route(prompt_tokens=-1), "prompt_tokens"),
    ("Route", route(features={"hour": math.nan}), "features[hour]"),
    ("Route", route(features={"undeclared": 1.0}), "features[undeclared]"),
    ("Route", route(features={"hour": 1e9}), "features[hour]"),
    ("Route", route(min_expected_reward=1.5), "min_expected_reward"),
    ("Route", route(allowed_arm_ids=["small", "small"]), "allowed_arm_ids"),
    ("Route", route(tenant_id="vec"), "query"),
    ("Route", route(tenant_id="vec", embedding={"values": [1.0] * 7}), "embedding.values"),
    ("Route", route(tenant_id="vec", embedding={"values": [math.inf] * 8}), "embedding.values[0]"),
    ("Route", route(tenant_id="vec", embedding=OTHER_ENCODER), "embedding.encoder_id"),
    ("Feedback", feedback(decision_id=""), "decision_id"),
    ("Feedback", feedback(reward=math.nan), "reward"),
    ("Feedback", feedback(reward=math.inf), "reward"),
    ("Feedback", feedback(reward=-0.1), "reward"),
    ("Feedback", feedback(reward=1.1), "reward"),
    ("Feedback", feedback(metrics={"m": math.nan}), "metrics[m]"),
    ("Feedback", feedback(usage={"cost_nusd": -1}), "usage.cost_nusd"),
    ("Feedback", feedback(usage={}), "usage"),
    ("Feedback", router_pb2.FeedbackRequest(tenant_id="acme", decision_id=NEVER_MADE), "usage"),
    ("Feedback", feedback(usage={"input_tokens": 1, "cached_input_tokens": 2}), "usage.cached_input_tokens"),
    ("Feedback", feedback(outcome=99), "outcome"),
    ("RouteBatch", router_pb2.RouteBatchRequest(), "requests"),
    ("CreatePool", admin_pb2.CreatePoolRequest(), "pool"),
    ("CreatePool", create_pool(encoder_id="nonsense"), "pool.encoder_id"),
    ("CreatePool", create_pool(dimension=200), "pool.dimension"),
    ("CreatePool", create_pool(learner="nonsense"), "pool.learner"),
    ("UpdatePool", admin_pb2.UpdatePoolRequest(pool={"pool_id": "main", "dimension": 8}), "pool.dimension"),
    ("PutArm", put_arm(input_usd_per_mtok="-1"), "arm.input_usd_per_mtok"),
    ("PutArm", put_arm(input_usd_per_mtok="0.0000000001"), "arm.input_usd_per_mtok"),
    ("CreateTenant", create_tenant(limit_nusd=2**53 + 1), "tenant.limit_nusd"),
    ("CreateTenant", create_tenant(window={"kind": "WINDOW_KIND_WEEK", "start_day": 8}), "tenant.window.start_day"),
    ("CreateTenant", create_tenant(window={"time_zone": "Mars/Base"}), "tenant.window.time_zone"),
    ("CreateTenant", create_tenant(fallback_arm_id="large"), "tenant.fallback_arm_id"),
    ("SetBudgetLimit", admin_pb2.SetBudgetLimitRequest(tenant_id="acme", limit_nusd=-1), "limit_nusd"),
    ("GrantBudget", admin_pb2.GrantBudgetRequest(tenant_id="acme", amount_nusd=0), "amount_nusd"),
    ("GrantBudget", admin_pb2.GrantBudgetRequest(tenant_id="acme", amount_nusd=2**53), "amount_nusd"),
    ("StreamEvents", admin_pb2.StreamEventsRequest(pool_id="main", cursor="nonsense"), "cursor"),
]

MISSING: list[tuple[str, Message, str, str]] = [
    ("Route", route(tenant_id="nobody"), "tenant", "nobody"),
    ("Route", route(allowed_arm_ids=["small", "nothing"]), "arm", "nothing"),
    ("Feedback", feedback(tenant_id="nobody"), "tenant", "nobody"),
    ("GetBudget", admin_pb2.GetBudgetRequest(tenant_id="nobody"), "tenant", "nobody"),
    ("GrantBudget", admin_pb2.GrantBudgetRequest(tenant_id="nobody", amount_nusd=1), "tenant", "nobody"),
    ("DeleteTenant", admin_pb2.DeleteTenantRequest(tenant_id="nobody"), "tenant", "nobody"),
    ("CreateTenant", create_tenant(pool_id="nothing"), "pool", "nothing"),
    ("GetPool", admin_pb2.GetPoolRequest(pool_id="nothing"), "pool", "nothing"),
    ("StreamEvents", admin_pb2.StreamEventsRequest(pool_id="nothing"), "pool", "nothing"),
    ("RemoveArm", admin_pb2.RemoveArmRequest(pool_id="main", arm_id="nothing"), "arm", "nothing"),
]


class Wire:
    """Calls methods of both services by name, and gives the status that they fail with."""

    def __init__(self, listen: str) -> None:
        self.channel = grpc.insecure_channel(listen)
        self._stubs = (
            router_pb2_grpc.RouterServiceStub(self.channel),
            admin_pb2_grpc.AdminServiceStub(self.channel),
        )

    def failure(self, method: str, request: Message) -> Status:
        call = next(getattr(stub, method) for stub in self._stubs if hasattr(stub, method))
        with pytest.raises(grpc.RpcError) as caught:
            _finish(call(request, timeout=20))
        metadata = dict(caught.value.trailing_metadata())
        status = Status.FromString(metadata["grpc-status-details-bin"])
        assert status.code == caught.value.code().value[0]
        assert status.message == caught.value.details()
        return status


def _finish(answer: Iterable[object]) -> None:
    """Read a stream to its end; a call with one response has failed before."""
    for _ in answer:
        pass


@pytest.fixture(scope="module")
def wire(server: ServerProcess) -> Iterator[Wire]:
    wire = Wire(server.listen)
    with wire.channel:
        yield wire


@pytest.fixture(scope="module", autouse=True)
def nothing_is_changed_by_what_fails(server: ServerProcess) -> Iterator[None]:
    """All calls of this module fail: at its end the store holds exactly what it did at its beginning."""
    with server.store() as store:
        before = settled_dump(store)
        yield
        assert settled_dump(store) == before


def detail(status: Status, kind: type[Message]) -> Message:
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {status}")


def check(status: Status, code: grpc.StatusCode, reason: str) -> None:
    info = detail(status, details.ErrorInfo)
    assert (status.code, info.reason, info.domain) == (code.value[0], reason, "bandit-router")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("method", "request_", "field"), INVALID, ids=lambda v: v if isinstance(v, str) else "")
def test_a_broken_field_rule_is_told_by_path(wire: Wire, method: str, request_: Message, field: str) -> None:
    status = wire.failure(method, request_)
    check(status, grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION")
    bad = detail(status, details.BadRequest)
    assert field in [v.field for v in bad.field_violations]  # type: ignore[attr-defined]
    assert all(v.description for v in bad.field_violations)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("method", "request_", "kind", "name"), MISSING)
def test_what_does_not_exist_is_named(wire: Wire, method: str, request_: Message, kind: str, name: str) -> None:
    status = wire.failure(method, request_)
    check(status, grpc.StatusCode.NOT_FOUND, f"{kind.upper()}_NOT_FOUND")
    info = detail(status, details.ResourceInfo)
    assert (info.resource_type, info.resource_name) == (kind, name)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("decision_id", "reason"),
    [(NEVER_MADE, "DECISION_NOT_FOUND"), ("nonsense", "DECISION_NOT_FOUND"), (MADE_LONG_AGO, "DECISION_EXPIRED")],
)
def test_feedback_needs_a_decision_that_is_still_known(wire: Wire, decision_id: str, reason: str) -> None:
    status = wire.failure("Feedback", feedback(decision_id=decision_id, reward=1.0))
    check(status, grpc.StatusCode.NOT_FOUND, reason)


def test_an_exhausted_total_has_a_quota_failure_and_no_hope(wire: Wire) -> None:
    status = wire.failure("Route", route(tenant_id="poor"))
    check(status, grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
    quota = detail(status, details.QuotaFailure)
    assert [v.subject for v in quota.violations] == ["tenant:poor"]  # type: ignore[attr-defined]
    assert len(status.details) == 2


def test_an_exhausted_day_may_be_retried_at_its_end(wire: Wire) -> None:
    status = wire.failure("Route", route(tenant_id="poor-today"))
    check(status, grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
    retry = detail(status, details.RetryInfo)
    assert 0 < retry.retry_delay.seconds <= 24 * 3600  # type: ignore[attr-defined]


@pytest.mark.parametrize("limits", [{"max_cost_nusd": 0}, {"min_expected_reward": 1.0}])
def test_constraints_that_exclude_every_arm_are_told_apart(wire: Wire, limits: dict[str, object]) -> None:
    status = wire.failure("Route", route(**limits))
    check(status, grpc.StatusCode.FAILED_PRECONDITION, "NO_FEASIBLE_ARM")
    failure = detail(status, details.PreconditionFailure)
    assert [v.subject for v in failure.violations] == ["large", "small"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("UpdatePool", admin_pb2.UpdatePoolRequest(pool={"pool_id": "main", "features": ["hour"], "etag": "1000000"})),
        ("PutArm", put_arm(arm_id="small", etag="1000000")),
        ("RemoveArm", admin_pb2.RemoveArmRequest(pool_id="main", arm_id="small", etag="1000000")),
        ("DeleteTenant", admin_pb2.DeleteTenantRequest(tenant_id="acme", etag="1000000")),
    ],
)
def test_a_stale_etag_is_a_conflict(wire: Wire, method: str, request_: Message) -> None:
    check(wire.failure(method, request_), grpc.StatusCode.ABORTED, "CONFLICT")


def test_an_id_is_taken_once(wire: Wire) -> None:
    taken = wire.failure("CreatePool", create_pool(pool_id="main"))
    check(taken, grpc.StatusCode.ALREADY_EXISTS, "POOL_ALREADY_EXISTS")
    taken = wire.failure("CreateTenant", create_tenant(tenant_id="acme"))
    check(taken, grpc.StatusCode.ALREADY_EXISTS, "TENANT_ALREADY_EXISTS")


def test_a_pool_in_use_stays(wire: Wire) -> None:
    status = wire.failure("DeletePool", admin_pb2.DeletePoolRequest(pool_id="main"))
    check(status, grpc.StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE")


def imported(wire: Wire, *parts: admin_pb2.ImportStateRequest) -> RouterError:
    with pytest.raises(grpc.RpcError) as caught:
        admin_pb2_grpc.AdminServiceStub(wire.channel).ImportState(iter(parts), timeout=20)
    return from_rpc_error(caught.value)


HEADER = admin_pb2.ImportStateRequest(header={"state": {"schema_version": 1}})
NEWER = admin_pb2.ImportStateRequest(header={"state": {"schema_version": 999}})
WRONG = admin_pb2.ImportStateRequest(chunk={"data": b"x", "sha256": bytes(32)})
GAP = admin_pb2.ImportStateRequest(chunk={"offset_bytes": 5, "data": b"x", "sha256": hashlib.sha256(b"x").digest()})
EMPTY = admin_pb2.ImportStateRequest(trailer={"sha256": hashlib.sha256(b"").digest()})
SHORT = admin_pb2.ImportStateRequest(trailer={"size_bytes": 7, "sha256": bytes(32)})


@pytest.mark.parametrize(
    ("parts", "code", "reason"),
    [
        ([], "INVALID_ARGUMENT", "VALIDATION"),
        ([HEADER], "INVALID_ARGUMENT", "VALIDATION"),
        ([HEADER, EMPTY], "DATA_LOSS", "DATA_LOSS"),
        ([HEADER, WRONG], "DATA_LOSS", "DATA_LOSS"),
        ([HEADER, GAP], "INVALID_ARGUMENT", "VALIDATION"),
        ([HEADER, SHORT], "DATA_LOSS", "DATA_LOSS"),
        ([WRONG], "INVALID_ARGUMENT", "VALIDATION"),
        ([HEADER, HEADER], "INVALID_ARGUMENT", "VALIDATION"),
        ([admin_pb2.ImportStateRequest()], "INVALID_ARGUMENT", "VALIDATION"),
        ([NEWER, EMPTY], "FAILED_PRECONDITION", "STATE_TOO_NEW"),
    ],
)
def test_a_state_that_does_not_come_whole_changes_nothing(
    wire: Wire, server: ServerProcess, parts: list[admin_pb2.ImportStateRequest], code: str, reason: str
) -> None:
    with server.store() as store, unchanged(store):
        error = imported(wire, *parts)
    assert (error.code, error.reason) == (code, reason)


def test_a_status_fits_into_a_reply_however_long_the_request(wire: Wire) -> None:
    request = route(features={"n" * 100 + str(i): math.nan for i in range(60)})
    check(wire.failure("Route", request), grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION")
    check(wire.failure("Route", route(tenant_id="x" * 500_000)), grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION")


def test_items_of_a_batch_fail_with_the_same_statuses(wire: Wire, client: RouterClient) -> None:
    requests = [route(tenant_id="nobody"), route(tenant_id=""), route(tenant_id="poor"), route(max_cost_nusd=0)]
    batch = router_pb2.RouteBatchRequest(requests=requests)
    items = router_pb2_grpc.RouterServiceStub(wire.channel).RouteBatch(batch, timeout=20).items
    assert [item.error for item in items] == [wire.failure("Route", request) for request in requests]


def test_dry_runs_change_nothing(client: RouterClient, wire: Wire) -> None:
    decision = client.route(query="hello", dry_run=True, explain=True)
    assert decision.decision_id
    assert sum(arm.propensity for arm in decision.arms) == pytest.approx(1.0)
    stub = admin_pb2_grpc.AdminServiceStub(wire.channel)
    answers: list[Callable[[], object]] = [
        lambda: stub.CreatePool(create_pool_dry()),
        lambda: stub.PutArm(admin_pb2.PutArmRequest(pool_id="main", arm=put_arm().arm, dry_run=True)),
        lambda: stub.CreateTenant(admin_pb2.CreateTenantRequest(tenant=create_tenant().tenant, dry_run=True)),
        lambda: stub.DeleteTenant(admin_pb2.DeleteTenantRequest(tenant_id="vec", dry_run=True)),
        lambda: stub.FreezeLearning(admin_pb2.FreezeLearningRequest(pool_id="main", frozen=True, dry_run=True)),
        lambda: stub.ResetBudget(admin_pb2.ResetBudgetRequest(tenant_id="acme", dry_run=True)),
    ]
    for answer in answers:
        answer()
    granted = stub.GrantBudget(admin_pb2.GrantBudgetRequest(tenant_id="poor", amount_nusd=5, dry_run=True))
    assert granted.budget.limit_nusd == 1005
    limited = stub.SetBudgetLimit(admin_pb2.SetBudgetLimitRequest(tenant_id="poor", limit_nusd=7, dry_run=True))
    assert limited.budget.limit_nusd == 7


def create_pool_dry() -> admin_pb2.CreatePoolRequest:
    request = create_pool()
    request.dry_run = True
    return request
