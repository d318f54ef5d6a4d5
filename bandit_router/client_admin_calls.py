"""What the admin clients send for each of their methods, and what they make of the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Literal, TypedDict, TypeVar
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from bandit_router.adapters.grpc.wire_admin import arm_from_wire, pool_from_wire, tenant_from_wire
from bandit_router.client_messages import Budget, budget_result, make_message, nusd
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.resources import Arm, Pool, Tenant
from bandit_router.v1 import admin_pb2 as pb
from bandit_router.v1 import resources_pb2

PAGE_SIZE = 1_000

Usd = str | Decimal | float
R = TypeVar("R")


class PoolFields(TypedDict, total=False):
    """Settings of a pool; see the Pool message."""

    encoder_id: str
    dimension: int
    learner: str
    exploration: str
    seed: int
    features: Sequence[str]
    apprentice_share: float
    holdout_share: float
    baseline_arm_id: str
    default_reward: float
    default_reward_deadline_s: float


class ArmFields(TypedDict, total=False):
    """Settings of an arm; see the Arm message. Prices are decimal USD per million tokens."""

    cached_input_usd_per_mtok: str
    max_output_tokens: int
    enabled: bool
    draining: bool
    tier: str
    family: str
    onboarding_nusd: int


class WindowFields(TypedDict, total=False):
    """A budget period; see the Window message."""

    kind: Literal["fixed", "hour", "day", "week", "month"]
    time_zone: str
    start_day: int
    carry_over: bool


class TenantFields(TypedDict, total=False):
    """Settings of a tenant; see the Tenant message."""

    budget_policy: str
    window: WindowFields
    expected_calls: int
    hold_policy: Literal["worst_case", "quantile", "expected"]
    hold_ttl_s: float
    expiry_policy: Literal["charge", "release"]
    fallback_arm_id: str
    isolated: bool
    shadow: bool
    parent_tenant_id: str
    session_cap_nusd: int
    alert_percents: Sequence[int]


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """An admin method, its request, and what to make of its response."""

    method: str
    request: Message
    read: Callable[[Any], R]


def create_pool(pool_id: str, fields: PoolFields) -> Call[Pool]:
    """A new pool."""
    given: dict[str, Any] = {"pool_id": pool_id, **fields}
    _in_seconds(given, "default_reward_deadline")
    pool = make_message(resources_pb2.Pool, given)
    return Call("CreatePool", pb.CreatePoolRequest(pool=pool), _pool)


def get_pool(pool_id: str) -> Call[Pool]:
    """A pool."""
    return Call("GetPool", pb.GetPoolRequest(pool_id=pool_id), _pool)


def put_arm(pool_id: str, arm_id: str, *, prices: tuple[str, str], fields: ArmFields) -> Call[Arm]:
    """An arm, new or replaced. `prices`: input and output."""
    given = {"arm_id": arm_id, "input_usd_per_mtok": prices[0], "output_usd_per_mtok": prices[1], **fields}
    arm = make_message(resources_pb2.Arm, given)
    return Call("PutArm", pb.PutArmRequest(pool_id=pool_id, arm=arm), lambda response: arm_from_wire(response.arm))


def remove_arm(pool_id: str, arm_id: str) -> Call[None]:
    """An arm's end."""
    return Call("RemoveArm", pb.RemoveArmRequest(pool_id=pool_id, arm_id=arm_id), _nothing)


def create_tenant(
    tenant_id: str, pool_id: str, *, limit_usd: Usd | None, limit_nusd: int | None, fields: TenantFields
) -> Call[Tenant]:
    """A new tenant."""
    given: dict[str, Any] = {"tenant_id": tenant_id, "pool_id": pool_id, **fields}
    given["limit_nusd"] = _limit(limit_usd, limit_nusd)
    for name in ("hold_policy", "expiry_policy"):
        if name in given:
            given[name] = f"{name}_{given[name]}".upper()
    if "window" in given:
        given["window"] = _window(given["window"])
    _in_seconds(given, "hold_ttl")
    tenant = make_message(resources_pb2.Tenant, given)
    return Call("CreateTenant", pb.CreateTenantRequest(tenant=tenant), _tenant)


def get_tenant(tenant_id: str) -> Call[Tenant]:
    """A tenant."""
    return Call("GetTenant", pb.GetTenantRequest(tenant_id=tenant_id), _tenant)


def _in_seconds(given: dict[str, Any], name: str) -> None:
    """Put a Duration in the place of `name`_s, if that is given."""
    if f"{name}_s" in given:
        given[name] = Duration()
        given[name].FromMilliseconds(round(given.pop(f"{name}_s") * 1000))


def get_budget(tenant_id: str) -> Call[Budget]:
    """The present window."""
    return Call("GetBudget", pb.GetBudgetRequest(tenant_id=tenant_id), _budget)


def set_budget_limit(
    tenant_id: str, *, limit_usd: Usd | None, limit_nusd: int | None, reason: str, idempotency_key: str = ""
) -> Call[Budget]:
    """Another limit."""
    given = _edit(tenant_id, reason, idempotency_key) | {"limit_nusd": _limit(limit_usd, limit_nusd)}
    request = make_message(pb.SetBudgetLimitRequest, given)
    return Call("SetBudgetLimit", request, _budget)


def grant_budget(
    tenant_id: str, *, amount_usd: Usd | None, amount_nusd: int | None, reason: str, idempotency_key: str = ""
) -> Call[Budget]:
    """More money in the present window."""
    given = _edit(tenant_id, reason, idempotency_key) | {"amount_nusd": _amount("amount", amount_usd, amount_nusd)}
    request = make_message(pb.GrantBudgetRequest, given)
    return Call("GrantBudget", request, _budget)


def reset_budget(tenant_id: str, *, reason: str, idempotency_key: str = "") -> Call[Budget]:
    """Spend written off."""
    request = make_message(pb.ResetBudgetRequest, _edit(tenant_id, reason, idempotency_key))
    return Call("ResetBudget", request, _budget)


def list_pools(page_token: str) -> Call[tuple[list[Pool], str]]:
    """A page of pools, and the token of the next."""
    request = pb.ListPoolsRequest(page_size=PAGE_SIZE, page_token=page_token)
    return Call("ListPools", request, lambda r: ([pool_from_wire(pool) for pool in r.pools], r.next_page_token))


def list_arms(pool_id: str, page_token: str) -> Call[tuple[list[Arm], str]]:
    """A page of arms, and the token of the next."""
    request = pb.ListArmsRequest(pool_id=pool_id, page_size=PAGE_SIZE, page_token=page_token)
    return Call("ListArms", request, lambda r: ([arm_from_wire(arm) for arm in r.arms], r.next_page_token))


def list_tenants(page_token: str) -> Call[tuple[list[Tenant], str]]:
    """A page of tenants, and the token of the next."""
    request = pb.ListTenantsRequest(page_size=PAGE_SIZE, page_token=page_token)
    return Call("ListTenants", request, lambda r: ([tenant_from_wire(t) for t in r.tenants], r.next_page_token))


def _edit(tenant_id: str, reason: str, idempotency_key: str) -> dict[str, Any]:
    """What all edits have. Without a key there is one for this call alone, so that it can be retried on the way."""
    return {"tenant_id": tenant_id, "reason": reason, "idempotency_key": idempotency_key or uuid4().hex}


def _limit(limit_usd: Usd | None, limit_nusd: int | None) -> int:
    return _amount("limit", limit_usd, limit_nusd)


def _amount(name: str, amount_usd: Usd | None, amount_nusd: int | None) -> int:
    """The amount that was given in one of two units."""
    if (amount_usd is None) == (amount_nusd is None):
        raise InvalidRequest.of(f"{name}_usd", f"exactly one of {name}_usd and {name}_nusd must be given")
    return nusd(f"{name}_usd", amount_usd) if amount_usd is not None else amount_nusd or 0


def _window(fields: WindowFields) -> resources_pb2.Window:
    given: dict[str, Any] = dict(fields)
    if "kind" in given:
        given["kind"] = f"WINDOW_KIND_{given['kind'].upper()}"
    return make_message(resources_pb2.Window, given)


def _pool(response: Any) -> Pool:
    return pool_from_wire(response.pool)


def _tenant(response: Any) -> Tenant:
    return tenant_from_wire(response.tenant)


def _budget(response: Any) -> Budget:
    return budget_result(response.budget)


def _nothing(_: Any) -> None:
    return None
