"""What a report or a deadline must do to a decision's outcome: the rules once more, as one table of slots.

Written apart from `core.outcomes`, from its documentation: every slot (the bill, the reward, each detail) is given or
not, set or not, and the report corrects or not. This is the yardstick that commits are held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import Bill, Billing, FeedbackStatus, Outcome, OutcomeKind, RewardSource
from bandit_router.service.messages import FeedbackRequest, Usage

_ENDED = (OutcomeKind.FAILED, OutcomeKind.CANCELLED)
_SETTLED = (Billing.BILLED, Billing.CANCELLED)

Verdict = FeedbackStatus | None


def after_feedback(before: Outcome, request: FeedbackRequest, decision: Decision) -> tuple[Outcome, FeedbackStatus]:
    """The outcome that a report must leave behind, and the status it must be answered with."""
    if request.idempotency_key and request.idempotency_key in before.idempotency_keys:
        return before, FeedbackStatus.DUPLICATE
    after = before
    verdicts: list[Verdict] = []
    if request.usage is not None or request.outcome in _ENDED:
        verdicts.append(_slot(is_set=before.billing in _SETTLED, request=request))
        if verdicts[-1] is not FeedbackStatus.DUPLICATE:
            after = _billed(after, request.usage, decision)
    if request.retract:
        verdicts.append(FeedbackStatus.DUPLICATE if before.reward is None else FeedbackStatus.CORRECTED)
        if before.reward is not None:
            after = replace(after, reward=None, reward_source=RewardSource.WITHDRAWN)
    elif request.reward is not None:
        is_set = before.reward is not None and before.reward_source is RewardSource.CALLER
        verdicts.append(_slot(is_set=is_set, request=request))
        if verdicts[-1] is not FeedbackStatus.DUPLICATE:
            after = replace(after, reward=request.reward, reward_source=RewardSource.CALLER)
    detailed = _detailed(after, request)
    if detailed != after:
        verdicts.append(FeedbackStatus.APPLIED)
    if detailed.reward_source is RewardSource.DEFAULT and not _is_answer(detailed):
        detailed = replace(detailed, reward=None, reward_source=RewardSource.CALLER)
    status = _strongest(verdicts)
    if status is FeedbackStatus.DUPLICATE:
        return before, status
    keys = frozenset({request.idempotency_key} if request.idempotency_key else ())
    return replace(detailed, idempotency_keys=before.idempotency_keys | keys), status


def after_deadline(before: Outcome) -> Outcome:
    """The outcome once a standing hold has expired."""
    return _booked(before, Billing.EXPIRED, None, before.hold_nusd if before.expiry_charges else 0)


def after_silence(before: Outcome, decision: Decision) -> Outcome:
    """The outcome once the pool's default has been assumed."""
    assert decision.default_reward is not None
    return replace(before, reward=decision.default_reward.reward, reward_source=RewardSource.DEFAULT)


def default_due_ms(outcome: Outcome, decision: Decision) -> int | None:
    """When a default must be assumed of this outcome; None: never. Nobody has said anything of an answer's reward."""
    if decision.default_reward is None or outcome.reward is not None or not _is_answer(outcome):
        return None
    return None if outcome.reward_source is RewardSource.WITHDRAWN else decision.default_reward.due_ms


def bill_of(usage: Usage, decision: Decision) -> Bill:
    """The bill in exact fractions, rounded up once."""
    cost_nusd = usage.cost_nusd
    if cost_nusd is None:
        fresh = max(0, (usage.input_tokens or 0) - (usage.cached_input_tokens or 0))
        prices = decision.prices
        exact = Fraction(
            fresh * prices.input_nusd_per_mtok
            + (usage.cached_input_tokens or 0) * prices.cached_input_nusd_per_mtok
            + (usage.output_tokens or 0) * prices.output_nusd_per_mtok,
            1_000_000,
        )
        cost_nusd = -(-exact.numerator // exact.denominator)
    return Bill(cost_nusd, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)


def _is_answer(outcome: Outcome) -> bool:
    return outcome.billing is Billing.BILLED and outcome.kind not in _ENDED


def _slot(*, is_set: bool, request: FeedbackRequest) -> FeedbackStatus:
    if not is_set:
        return FeedbackStatus.APPLIED
    return FeedbackStatus.CORRECTED if request.correct else FeedbackStatus.DUPLICATE


def _billed(before: Outcome, usage: Usage | None, decision: Decision) -> Outcome:
    if usage is None:
        return _booked(before, Billing.CANCELLED, None, 0)
    bill = bill_of(usage, decision)
    return _booked(before, Billing.BILLED, bill, bill.cost_nusd)


def _booked(before: Outcome, billing: Billing, bill: Bill | None, cost_nusd: int) -> Outcome:
    """What is left of the hold is let go, and does not come back."""
    let_go_nusd = max(before.let_go_nusd, before.hold_nusd - cost_nusd)
    return replace(before, billing=billing, bill=bill, cost_nusd=cost_nusd, let_go_nusd=let_go_nusd)


def _detailed(before: Outcome, request: FeedbackRequest) -> Outcome:
    after = before
    if request.outcome is not OutcomeKind.UNSPECIFIED and (before.kind is OutcomeKind.UNSPECIFIED or request.correct):
        after = replace(after, kind=request.outcome)
    if request.latency_ms is not None and (before.latency_ms is None or request.correct):
        after = replace(after, latency_ms=request.latency_ms)
    return replace(after, metrics=_merged(dict(before.metrics), request))


def _merged(old: Mapping[str, float], request: FeedbackRequest) -> tuple[tuple[str, float], ...]:
    winner, loser = (request.metrics, old) if request.correct else (old, request.metrics)
    return tuple(sorted({**loser, **winner}.items()))


def _strongest(verdicts: list[Verdict]) -> FeedbackStatus:
    for status in (FeedbackStatus.CORRECTED, FeedbackStatus.APPLIED):
        if status in verdicts:
            return status
    return FeedbackStatus.DUPLICATE
