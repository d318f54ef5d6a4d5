"""What the clients take and give: keyword fields in, frozen dataclasses out, and the wire messages in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Required, TypedDict, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bandit_router.core.errors import InvalidRequest
from bandit_router.core.money import MoneyError, usd_to_nusd
from bandit_router.v1 import resources_pb2, router_pb2

_USAGE_FIELDS = ("input_tokens", "output_tokens", "cached_input_tokens", "cost_nusd")
_M = TypeVar("_M", bound=Message)


class Session(TypedDict, total=False):
    """The conversation that a query belongs to: where its prompt cache is, and how many tokens it holds."""

    session_id: str
    last_arm_id: str
    cached_tokens: int


class RouteFields(TypedDict, total=False):
    """What may be said about a request besides its query, which an `embedding` may stand for.

    `tenant_id` defaults to the client's. `request_id` is made up where it is missing, so that a retry finds the
    decision of the first attempt instead of holding money twice.
    """

    embedding: Sequence[float]
    encoder_id: str
    tenant_id: str
    request_id: str
    prompt_tokens: int
    max_output_tokens: int
    allowed_arm_ids: Sequence[str]
    max_cost_nusd: int
    min_expected_reward: float
    session: Session
    features: Mapping[str, float]
    explain: bool
    dry_run: bool


class RouteItem(RouteFields, total=False):
    """One item of a batch: the fields with their query, unless there is an embedding."""

    query: str


class FeedbackFields(TypedDict, total=False):
    """What may be said about a decision. A bill in `cost_nusd` or `cost_usd` wins over tokens × price."""

    tenant_id: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cost_nusd: int
    cost_usd: str | Decimal | float
    reward: float
    outcome: Literal["ok", "failed", "cancelled"]
    metrics: Mapping[str, float]
    latency_ms: int
    idempotency_key: str
    correct: bool
    retract: bool


class FeedbackItem(FeedbackFields, total=False):
    """One item of a batch: the fields with their decision."""

    decision_id: Required[str]


@dataclass(frozen=True, slots=True)
class Budget:
    """A tenant's window, in nano-USD: limit = free + held + spent. `window_end` is None for a fixed total."""

    tenant_id: str
    limit_nusd: int
    spent_nusd: int
    held_nusd: int
    free_nusd: int
    overrun_nusd: int
    decisions: int
    price_per_usd: float
    window_start: datetime
    window_end: datetime | None


@dataclass(frozen=True, slots=True)
class ArmScore:
    """What one arm promised in one decision. `excluded_because` is empty for a feasible arm."""

    arm_id: str
    expected_reward: float
    uncertainty: float
    expected_cost_nusd: int
    expected_output_tokens: float
    hold_nusd: int
    score: float
    propensity: float
    excluded_because: str


@dataclass(frozen=True, slots=True)
class Route:
    """A decision: which arm to call.

    `reason` is POLICY, FORCED, FALLBACK, APPRENTICE, HOLDOUT or OUTAGE. `is_fallback`: the client answered by itself
    with its own fallback arm, since no router did; then `decision_id` is empty, nothing is held and there is no budget.
    """

    decision_id: str
    arm_id: str
    propensity: float
    expected_reward: float
    expected_cost_nusd: int
    hold_nusd: int
    price_per_usd: float
    budget: Budget | None
    snapshot_version: int
    policy_id: str
    feedback_deadline: datetime | None
    reason: str
    arms: tuple[ArmScore, ...] = ()
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What a feedback did: `status` is APPLIED, DUPLICATE, CORRECTED, or SKIPPED (it was about a client's fallback)."""

    status: str
    settled_cost_nusd: int
    released_nusd: int
    budget: Budget | None


SKIPPED = FeedbackResult("SKIPPED", 0, 0, None)


def route_message(item: RouteItem) -> router_pb2.RouteRequest:
    """The request on the wire."""
    given: dict[str, Any] = dict(item)
    values, encoder_id = given.pop("embedding", None), given.pop("encoder_id", "")
    if values is not None:
        if "query" in given:
            raise InvalidRequest.of("input", "exactly one of query and embedding must be given")
        given["embedding"] = make_message(router_pb2.Embedding, {"values": values, "encoder_id": encoder_id})
    return make_message(router_pb2.RouteRequest, given)


def feedback_message(item: FeedbackItem) -> router_pb2.FeedbackRequest:
    """The request on the wire."""
    given: dict[str, Any] = dict(item)
    usage = {name: given.pop(name) for name in _USAGE_FIELDS if name in given}
    if "cost_usd" in given:
        if "cost_nusd" in usage:
            raise InvalidRequest.of("cost_usd", "cannot come with cost_nusd")
        usage["cost_nusd"] = nusd("cost_usd", given.pop("cost_usd"))
    if usage:
        given["usage"] = make_message(resources_pb2.Usage, usage)
    if "outcome" in given:
        given["outcome"] = f"OUTCOME_{given['outcome'].upper()}"
    return make_message(router_pb2.FeedbackRequest, given)


def route_result(message: router_pb2.RouteResponse) -> Route:
    """The decision on the wire as a result."""
    return Route(
        decision_id=message.decision_id,
        arm_id=message.arm_id,
        propensity=message.propensity,
        expected_reward=message.expected_reward,
        expected_cost_nusd=message.expected_cost_nusd,
        hold_nusd=message.hold_nusd,
        price_per_usd=message.price_per_usd,
        budget=budget_result(message.budget),
        snapshot_version=message.snapshot_version,
        policy_id=message.policy_id,
        feedback_deadline=_time(message.feedback_deadline),
        reason=_name(resources_pb2.DecisionReason.Name(message.reason), "DECISION_REASON_"),
        arms=tuple(_arm_result(arm) for arm in message.arms),
    )


def feedback_result(message: router_pb2.FeedbackResponse) -> FeedbackResult:
    """The answer on the wire as a result."""
    return FeedbackResult(
        status=_name(router_pb2.FeedbackStatus.Name(message.status), "FEEDBACK_STATUS_"),
        settled_cost_nusd=message.settled_cost_nusd,
        released_nusd=message.released_nusd,
        budget=budget_result(message.budget),
    )


def budget_result(message: resources_pb2.Budget) -> Budget:
    """The window on the wire as a result."""
    return Budget(
        tenant_id=message.tenant_id,
        limit_nusd=message.limit_nusd,
        spent_nusd=message.spent_nusd,
        held_nusd=message.held_nusd,
        free_nusd=message.free_nusd,
        overrun_nusd=message.overrun_nusd,
        decisions=message.decisions,
        price_per_usd=message.price_per_usd,
        window_start=_time(message.window_start),
        window_end=_time(message.window_end) if message.HasField("window_end") else None,
    )


def fallback_route(arm_id: str) -> Route:
    """The client's own answer while no router can be reached."""
    return Route(
        decision_id="",
        arm_id=arm_id,
        propensity=1.0,
        expected_reward=0.0,
        expected_cost_nusd=0,
        hold_nusd=0,
        price_per_usd=0.0,
        budget=None,
        snapshot_version=0,
        policy_id="",
        feedback_deadline=None,
        reason="OUTAGE",
        is_fallback=True,
    )


def make_message(kind: type[_M], given: dict[str, Any]) -> _M:
    """The message. Raises InvalidRequest naming the field whose value has the wrong type or range."""
    try:
        return kind(**given)
    except (TypeError, ValueError) as fault:
        for name, value in given.items():
            try:
                kind(**{name: value})
            except (TypeError, ValueError) as refusal:
                raise InvalidRequest.of(name, str(refusal)) from None
        raise InvalidRequest.of("request", str(fault)) from None


def nusd(field: str, amount_usd: str | Decimal | float) -> int:
    """Nano-USD of an amount, rounded up. Raises InvalidRequest naming the field."""
    try:
        return usd_to_nusd(amount_usd if isinstance(amount_usd, Decimal) else str(amount_usd))
    except MoneyError as refusal:
        raise InvalidRequest.of(field, str(refusal)) from None


def _arm_result(message: resources_pb2.ArmScore) -> ArmScore:
    return ArmScore(
        arm_id=message.arm_id,
        expected_reward=message.expected_reward,
        uncertainty=message.uncertainty,
        expected_cost_nusd=message.expected_cost_nusd,
        expected_output_tokens=message.expected_output_tokens,
        hold_nusd=message.hold_nusd,
        score=message.score,
        propensity=message.propensity,
        excluded_because=message.excluded_because,
    )


def _name(name: str, prefix: str) -> str:
    return name.removeprefix(prefix)


def _time(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)
