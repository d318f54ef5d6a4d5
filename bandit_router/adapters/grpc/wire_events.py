"""Entries of the event log as events on the wire, and cursors into it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

from bandit_router.adapters.grpc.wire import arm_scores, decision_reason, outcome_kind, timestamp
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.outcomes import Bill, Billing, Outcome, RewardSource
from bandit_router.core.partition import PARTITION_COUNT, partition_tag
from bandit_router.ports.events import EventEntry, Positions
from bandit_router.service.route import exact_propensities
from bandit_router.v1 import events_pb2, resources_pb2

_ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}")
_BILLING_CHANGES = {
    Billing.BILLED: events_pb2.EVENT_CHANGE_BILLED,
    Billing.CANCELLED: events_pb2.EVENT_CHANGE_CANCELLED,
    Billing.EXPIRED: events_pb2.EVENT_CHANGE_EXPIRED,
}


def event(entry: EventEntry) -> events_pb2.Event:
    """The entry on the wire."""
    decision = decode_decision(entry.decision)
    before, after = decode_outcome(entry.before), decode_outcome(entry.after)
    propensities = exact_propensities(decision, free_nusd=entry.free_nusd)
    return events_pb2.Event(
        position=position(entry),
        changes=list(_changes(before, after)),
        correction=_is_correction(before, after),
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        tenant_id=decision.tenant_id,
        pool_id=decision.pool_id,
        arm_id=decision.arm_id,
        reason=decision_reason(decision.reason),
        propensity=propensities[decision.arm_id],
        context=decision.context,
        arms=arm_scores(decision, propensities),
        price_per_usd=decision.price_per_usd,
        snapshot_version=decision.snapshot_version,
        policy_id=decision.policy_id,
        prompt_tokens=decision.prompt_tokens,
        hold_nusd=decision.hold_nusd,
        free_nusd=entry.free_nusd,
        window_start=timestamp(decision.window_start_ms),
        decided_at=timestamp(decision.decided_ms),
        recorded_at=timestamp(entry.recorded_ms),
        reward=after.reward,
        previous_reward=before.reward,
        cost_nusd=_booked(after),
        previous_cost_nusd=_booked(before),
        usage=None if after.bill is None else _usage(after.bill),
        outcome=outcome_kind(after.kind),
        latency_ms=after.latency_ms,
        metrics=dict(after.metrics),
        reward_defaulted=after.reward_source is RewardSource.DEFAULT,
    )


def position(entry: EventEntry) -> str:
    """Where the entry stands in its pool's log."""
    return f"{partition_tag(entry.partition)}-{entry.entry_id}"


def encode_cursor(positions: Positions) -> str:
    """An opaque text that resumes behind `positions`."""
    return base64.urlsafe_b64encode(json.dumps(positions, separators=(",", ":")).encode()).decode()


def decode_cursor(cursor: str) -> dict[int, str]:
    """Inverse of `encode_cursor`; an empty one stands before the first entry. Raises InvalidRequest."""
    if not cursor:
        return {}
    try:
        doc = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        positions = {int(partition): entry_id for partition, entry_id in doc.items()}
    except (ValueError, AttributeError, TypeError):
        raise InvalidRequest.of("cursor", "is none that this service gave out") from None
    for partition, entry_id in positions.items():
        known = isinstance(entry_id, str) and _ENTRY_ID.fullmatch(entry_id) and 0 <= partition < PARTITION_COUNT
        if not known:
            raise InvalidRequest.of("cursor", "is none that this service gave out")
    return positions


def _changes(before: Outcome, after: Outcome) -> Iterator[events_pb2.EventChange.ValueType]:
    if (after.billing, after.bill) != (before.billing, before.bill):
        yield _BILLING_CHANGES[after.billing]
    if after.reward is None and before.reward is not None:
        yield events_pb2.EVENT_CHANGE_RETRACTED
    elif (after.reward, after.reward_source) != (before.reward, before.reward_source):
        is_default = after.reward_source is RewardSource.DEFAULT
        yield events_pb2.EVENT_CHANGE_DEFAULTED if is_default else events_pb2.EVENT_CHANGE_REWARDED
    if (after.kind, after.latency_ms, after.metrics) != (before.kind, before.latency_ms, before.metrics):
        yield events_pb2.EVENT_CHANGE_DETAILED


def _is_correction(before: Outcome, after: Outcome) -> bool:
    """Whether a bill or reward that a caller had set was replaced or removed."""
    was_settled = before.billing in (Billing.BILLED, Billing.CANCELLED)
    rebilled = was_settled and (after.billing, after.bill) != (before.billing, before.bill)
    return rebilled or (before.reported_reward is not None and after.reward != before.reward)


def _booked(outcome: Outcome) -> int | None:
    return None if outcome.billing is Billing.HELD else outcome.cost_nusd


def _usage(bill: Bill) -> resources_pb2.Usage:
    return resources_pb2.Usage(
        input_tokens=bill.input_tokens,
        output_tokens=bill.output_tokens,
        cached_input_tokens=bill.cached_input_tokens,
        cost_nusd=bill.cost_nusd,
    )
