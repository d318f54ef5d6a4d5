"""Route and Feedback: protobuf messages to service messages and back. Presence is kept exactly."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from bandit_router.core.budget import Account
from bandit_router.core.decision import Decision, Reason
from bandit_router.core.outcomes import FeedbackStatus, OutcomeKind
from bandit_router.ports.ledger import BudgetState
from bandit_router.service.messages import FeedbackReply, FeedbackRequest, RouteReply, RouteRequest, Session, Usage
from bandit_router.v1 import resources_pb2, router_pb2

_REASONS = {reason: resources_pb2.DecisionReason.Value(f"DECISION_REASON_{reason.name}") for reason in Reason}
_STATUSES = {status: router_pb2.FeedbackStatus.Value(f"FEEDBACK_STATUS_{status.name}") for status in FeedbackStatus}
_OUTCOMES = {resources_pb2.Outcome.Value(f"OUTCOME_{kind.name}"): kind for kind in OutcomeKind}
_OUTCOME_NUMBERS = {kind: number for number, kind in _OUTCOMES.items()}


def route_request(message: router_pb2.RouteRequest) -> RouteRequest:
    """The service's request. `message` has passed validation."""
    kind = message.WhichOneof("input")
    return RouteRequest(
        tenant_id=message.tenant_id,
        query=message.query if kind == "query" else None,
        embedding=tuple(message.embedding.values) if kind == "embedding" else None,
        embedding_encoder_id=message.embedding.encoder_id if kind == "embedding" else "",
        request_id=message.request_id,
        prompt_tokens=message.prompt_tokens if message.HasField("prompt_tokens") else None,
        max_output_tokens=message.max_output_tokens if message.HasField("max_output_tokens") else None,
        allowed_arm_ids=tuple(message.allowed_arm_ids),
        max_cost_nusd=message.max_cost_nusd if message.HasField("max_cost_nusd") else None,
        min_expected_reward=message.min_expected_reward if message.HasField("min_expected_reward") else None,
        session=_session(message),
        features=dict(message.features),
        dry_run=message.dry_run,
    )


def route_response(reply: RouteReply, *, explain: bool) -> router_pb2.RouteResponse:
    """The reply on the wire; with `explain` every arm's scores."""
    decision, quote = reply.decision, reply.decision.quote
    return router_pb2.RouteResponse(
        decision_id=decision.decision_id,
        arm_id=quote.arm_id,
        propensity=reply.propensity,
        expected_reward=quote.expected_reward,
        expected_cost_nusd=quote.expected_cost_nusd,
        hold_nusd=quote.hold_nusd,
        price_per_usd=decision.price_per_usd,
        budget=budget(decision.tenant_id, reply.budget),
        snapshot_version=decision.snapshot_version,
        policy_id=decision.policy_id,
        feedback_deadline=timestamp(decision.deadline_ms),
        reason=decision_reason(decision.reason),
        arms=arm_scores(decision, reply.propensities) if explain else (),
    )


def feedback_request(message: router_pb2.FeedbackRequest) -> FeedbackRequest:
    """The service's request. `message` has passed validation."""
    return FeedbackRequest(
        tenant_id=message.tenant_id,
        decision_id=message.decision_id,
        usage=_usage(message.usage) if message.HasField("usage") else None,
        reward=message.reward if message.HasField("reward") else None,
        outcome=_OUTCOMES[message.outcome],
        metrics=dict(message.metrics),
        latency_ms=message.latency_ms if message.HasField("latency_ms") else None,
        idempotency_key=message.idempotency_key,
        correct=message.correct,
        retract=message.retract,
    )


def feedback_response(tenant_id: str, reply: FeedbackReply) -> router_pb2.FeedbackResponse:
    """The reply on the wire."""
    return router_pb2.FeedbackResponse(
        status=_STATUSES[reply.status],
        settled_cost_nusd=reply.settled_cost_nusd,
        released_nusd=reply.released_nusd,
        budget=budget(tenant_id, reply.budget),
    )


def budget(tenant_id: str, state: BudgetState) -> resources_pb2.Budget:
    """A window's account with its price of money."""
    message = account(tenant_id, state.account)
    message.window_start.FromMilliseconds(state.window.start_ms)
    if state.window.end_ms is not None:
        message.window_end.FromMilliseconds(state.window.end_ms)
    if state.price is not None:
        message.price_per_usd = state.price.price_per_usd
    return message


def account(tenant_id: str, counters: Account) -> resources_pb2.Budget:
    """An account without its window and price."""
    return resources_pb2.Budget(
        tenant_id=tenant_id,
        limit_nusd=counters.limit_nusd,
        spent_nusd=counters.spent_nusd,
        held_nusd=counters.held_nusd,
        free_nusd=counters.free_nusd,
        overrun_nusd=counters.overrun_nusd,
        decisions=counters.decisions,
    )


def arm_scores(decision: Decision, propensities: Mapping[str, float]) -> list[resources_pb2.ArmScore]:
    """What each arm of the pool promised, in order of the arms' ids."""
    return [
        resources_pb2.ArmScore(
            arm_id=quote.arm_id,
            expected_reward=quote.expected_reward,
            uncertainty=quote.uncertainty,
            expected_cost_nusd=quote.expected_cost_nusd,
            hold_nusd=quote.hold_nusd,
            score=quote.score,
            propensity=propensities.get(quote.arm_id, 0.0),
            excluded_because=quote.excluded_because,
            expected_output_tokens=quote.expected_output_tokens,
        )
        for quote in decision.quotes
    ]


def decision_reason(reason: Reason) -> resources_pb2.DecisionReason.ValueType:
    """The reason on the wire."""
    return _REASONS[reason]


def outcome_kind(kind: OutcomeKind) -> resources_pb2.Outcome.ValueType:
    """The outcome on the wire."""
    return _OUTCOME_NUMBERS[kind]


def timestamp(unix_ms: int) -> Timestamp:
    """A moment on the wire."""
    message = Timestamp()
    message.FromMilliseconds(unix_ms)
    return message


def _session(message: router_pb2.RouteRequest) -> Session:
    session = message.session
    return Session(session_id=session.session_id, last_arm_id=session.last_arm_id, cached_tokens=session.cached_tokens)


def _usage(message: resources_pb2.Usage) -> Usage:
    return Usage(
        input_tokens=message.input_tokens if message.HasField("input_tokens") else None,
        output_tokens=message.output_tokens if message.HasField("output_tokens") else None,
        cached_input_tokens=message.cached_input_tokens if message.HasField("cached_input_tokens") else None,
        cost_nusd=message.cost_nusd if message.HasField("cost_nusd") else None,
    )
