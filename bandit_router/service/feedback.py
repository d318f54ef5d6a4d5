"""Feedback: settle the hold, take the reward, correct either; idempotent, in any order, from any replica.

What a report does is decided by `core.outcomes` on the outcome as it was read; the ledger commits it only if no other
report came in between, else it is decided again on what that one left.
"""

from __future__ import annotations

import math

from bandit_router.core.codec import decode_decision, decode_outcome, encode_outcome
from bandit_router.core.decision import Decision
from bandit_router.core.errors import (
    DecisionExpired,
    DecisionNotFound,
    FieldViolation,
    InvalidRequest,
    ResourceNotFound,
    StoreAway,
)
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Bill, Billing, Feedback, Outcome, Transition, apply_feedback
from bandit_router.core.partition import decision_time_ms
from bandit_router.core.resources import Tenant
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import (
    AccountMissing,
    BudgetState,
    DecisionRecord,
    Ledger,
    OutcomeCommit,
    StoreUnavailable,
)
from bandit_router.service.directory import Directory
from bandit_router.service.messages import FeedbackReply, FeedbackRequest, Usage
from bandit_router.service.outages import may_be_unwritten
from bandit_router.service.pacing import Pacer
from bandit_router.service.route import KEEP_RECORDS_MS, charged_level
from bandit_router.service.schema_watch import SchemaWatch

MAX_COMMITS = 32
"""Attempts to commit one report; each failure means that another report on the same decision went through."""

MAX_IDEMPOTENCY_KEYS = 64
"""Reports with a key of their own that one decision takes."""

MAX_METRICS = 64
"""Further outcome dimensions that one decision keeps, over all its reports."""


class FeedbackService:
    """Answers Feedback for one replica."""

    def __init__(
        self, *, directory: Directory, pacer: Pacer, ledger: Ledger, clock: Clock, schema: SchemaWatch
    ) -> None:
        self._directory = directory
        self._schema = schema
        self._pacer = pacer
        self._ledger = ledger
        self._clock = clock

    async def feedback(self, request: FeedbackRequest) -> FeedbackReply:
        """Take a report about a decision. Raises RouterError; then nothing was changed."""
        check_feedback(request)
        try:
            tenant = await self._directory.tenant(request.tenant_id)
            for _ in range(MAX_COMMITS):
                reply = await self._attempt(tenant, request)
                if reply is not None:
                    if reply.budget.account.decisions:  # none: the account that paid is closed, this one is another
                        self._pacer.observe(tenant.tenant_id, reply.budget)
                    return reply
        except StoreUnavailable as fault:
            raise StoreAway(str(fault)) from fault
        except AccountMissing:
            raise ResourceNotFound("tenant", request.tenant_id) from None
        raise StoreAway(f"decision {request.decision_id!r} changed during {MAX_COMMITS} attempts", retry_after_s=0.1)

    async def _attempt(self, tenant: Tenant, request: FeedbackRequest) -> FeedbackReply | None:
        """One read and commit; None if another report came in between."""
        record = await self._read(request)
        decision, before = decode_decision(record.decision), decode_outcome(record.outcome)
        transition = apply_feedback(before, make_feedback(request, decision))
        _check_size(transition.outcome)
        if transition.changed:
            self._schema.check()
            budget = await self._ledger.commit(
                make_commit(decision, record, before, transition, recorded_ms=self._clock.now_ms())
            )
            if budget is None:
                return None
        else:
            budget = await self._budget(tenant, decision)
        return FeedbackReply(
            status=transition.status,
            settled_cost_nusd=transition.outcome.cost_nusd,
            released_nusd=_released_nusd(transition.outcome),
            budget=budget,
        )

    async def _read(self, request: FeedbackRequest) -> DecisionRecord:
        made_ms = decision_time_ms(request.decision_id, request.tenant_id)
        if made_ms is None:
            raise DecisionNotFound(request.decision_id)
        record = await self._ledger.read(request.tenant_id, request.decision_id)
        if record is not None:
            return record
        tenant = await self._directory.tenant(request.tenant_id)
        if may_be_unwritten(tenant, made_ms=made_ms, now_ms=self._clock.now_ms()):
            raise StoreAway(f"decision {request.decision_id!r} may have been made in an outage and not be written yet")
        if made_ms + KEEP_RECORDS_MS < self._clock.now_ms():
            raise DecisionExpired(request.decision_id)
        raise DecisionNotFound(request.decision_id)

    async def _budget(self, tenant: Tenant, decision: Decision) -> BudgetState:
        return await self._ledger.budget(charged_level(tenant, decision))


def make_commit(
    decision: Decision, record: DecisionRecord, before: Outcome, transition: Transition, *, recorded_ms: int
) -> OutcomeCommit:
    """The commit that makes a transition of the record durable."""
    return OutcomeCommit(
        tenant_id=decision.tenant_id,
        pool_id=decision.pool_id,
        decision_id=decision.decision_id,
        charges=decision.charges,
        revision=record.revision,
        before=record.outcome,
        after=encode_outcome(transition.outcome),
        was=before.booking,
        now=transition.outcome.booking,
        recorded_ms=recorded_ms,
        default_was_due_ms=_default_due_ms(decision, before),
        default_due_ms=_default_due_ms(decision, transition.outcome),
    )


def _default_due_ms(decision: Decision, outcome: Outcome) -> int | None:
    """When the default reward is to be assumed of a decision with this outcome; None: it is not."""
    default = decision.default_reward
    return default.due_ms if default is not None and outcome.lacks_reward else None


def make_feedback(request: FeedbackRequest, decision: Decision) -> Feedback:
    """The report with its bill worked out: an exact cost wins over tokens at the decision's prices."""
    return Feedback(
        bill=None if request.usage is None else make_bill(request.usage, decision),
        reward=request.reward,
        kind=request.outcome,
        correct=request.correct,
        retract=request.retract,
        latency_ms=request.latency_ms,
        metrics=tuple(sorted(request.metrics.items())),
        idempotency_key=request.idempotency_key,
    )


def make_bill(usage: Usage, decision: Decision) -> Bill:
    """What the usage costs; tokens that were not given count as none. Raises InvalidRequest beyond any budget."""
    cost_nusd = usage.cost_nusd
    if cost_nusd is None:
        cost_nusd = decision.prices.cost_nusd(
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cached_input_tokens=usage.cached_input_tokens or 0,
        )
    if cost_nusd > MAX_LIMIT_NUSD:
        raise InvalidRequest.of("usage", f"costs {cost_nusd} nano-USD, more than any budget ({MAX_LIMIT_NUSD})")
    return Bill(cost_nusd, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)


def check_feedback(request: FeedbackRequest) -> None:
    """Raise InvalidRequest unless every value is in range."""
    violations = []
    if request.reward is not None and not 0.0 <= request.reward <= 1.0:
        violations.append(FieldViolation("reward", f"must be a number in [0, 1], got {request.reward}"))
    if request.reward is not None and request.retract:
        violations.append(FieldViolation("retract", "removes the reward and cannot come with one"))
    for name, value in request.metrics.items():
        if not math.isfinite(value):
            violations.append(FieldViolation(f"metrics[{name}]", f"must be finite, got {value}"))
    if not _says_something(request):
        violations.append(
            FieldViolation("usage", "a report must give usage, a reward, an outcome, metrics or latency_ms")
        )
    if request.usage is not None:
        violations.extend(_usage_violations(request.usage))
    if violations:
        raise InvalidRequest(violations)


def _says_something(request: FeedbackRequest) -> bool:
    if request.usage is not None or request.reward is not None:
        return True
    empty = FeedbackRequest(request.tenant_id, request.decision_id, idempotency_key=request.idempotency_key)
    return request != empty


def _usage_violations(usage: Usage) -> list[FieldViolation]:
    values = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cost_nusd": usage.cost_nusd,
    }
    if all(value is None for value in values.values()):
        return [FieldViolation("usage", "must give tokens or cost_nusd; leave it out if the bill is not known yet")]
    violations = [
        FieldViolation(f"usage.{name}", f"must be between 0 and {MAX_LIMIT_NUSD}, got {value}")
        for name, value in values.items()
        if value is not None and not 0 <= value <= MAX_LIMIT_NUSD
    ]
    if (usage.cached_input_tokens or 0) > (usage.input_tokens or 0):
        violations.append(FieldViolation("usage.cached_input_tokens", "must not exceed input_tokens"))
    return violations


def _check_size(outcome: Outcome) -> None:
    if len(outcome.idempotency_keys) > MAX_IDEMPOTENCY_KEYS:
        raise InvalidRequest.of("idempotency_key", f"a decision takes at most {MAX_IDEMPOTENCY_KEYS} of them")
    if len(outcome.metrics) > MAX_METRICS:
        raise InvalidRequest.of("metrics", f"a decision takes at most {MAX_METRICS} of them")


def _released_nusd(outcome: Outcome) -> int:
    """The part of the hold that did not become spend."""
    return 0 if outcome.billing is Billing.HELD else max(0, outcome.hold_nusd - outcome.cost_nusd)
