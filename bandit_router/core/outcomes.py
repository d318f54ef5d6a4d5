"""The life of a decision after Route: every legal transition of its outcome, and what each does to the money.

    billing:   HELD ──usage──▶ BILLED ──correct──▶ BILLED
                 │──cancelled / failed without usage──▶ CANCELLED (bill of zero)
                 └──deadline──▶ EXPIRED (charged at its hold, or released at zero) ──late usage──▶ BILLED
    reward:    none ──reward──▶ set ──correct──▶ set ──retract──▶ none

Usage and reward are independent: either may come first, alone, late or never. Without `correct`, a second value for
what is already set is a duplicate and changes nothing. With it the new value replaces the old one, and the change of
the money is the difference, so any sequence of corrections leaves the ledger as if only the last value had ever come.

This file is the only place that knows these rules: a store reads the outcome with its revision, the transition is
computed here, and the store commits it (outcome, money, event) only if the revision is still the one that was read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

_T = TypeVar("_T")


class Billing(Enum):
    """State of a decision's hold. The values are what the stores keep."""

    HELD = "H"
    BILLED = "B"
    CANCELLED = "C"
    EXPIRED = "X"


class OutcomeKind(Enum):
    """How the call to the model ended, as the caller saw it."""

    UNSPECIFIED = ""
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FeedbackStatus(Enum):
    """What a feedback did."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call cost. Token counts are None where the caller gave money only."""

    cost_nusd: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything mutable about a decision. `hold_nusd` is the original hold; `cost_nusd` what is booked as spent."""

    hold_nusd: int
    expected_cost_nusd: int
    expiry_charges: bool
    billing: Billing = Billing.HELD
    bill: Bill | None = None
    cost_nusd: int = 0
    reward: float | None = None
    kind: OutcomeKind = OutcomeKind.UNSPECIFIED
    latency_ms: int | None = None
    metrics: tuple[tuple[str, float], ...] = ()
    idempotency_keys: frozenset[str] = frozenset()

    @property
    def held_nusd(self) -> int:
        """Money still set aside."""
        return self.hold_nusd if self.billing is Billing.HELD else 0

    @property
    def overrun_nusd(self) -> int:
        """By how much the booked cost exceeds the hold."""
        return max(0, self.cost_nusd - self.hold_nusd)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A validated report about one decision. `bill` is None when no usage was given."""

    bill: Bill | None = None
    reward: float | None = None
    kind: OutcomeKind = OutcomeKind.UNSPECIFIED
    correct: bool = False
    retract: bool = False
    latency_ms: int | None = None
    metrics: tuple[tuple[str, float], ...] = ()
    idempotency_key: str = ""

    @property
    def ends_unbilled(self) -> bool:
        """True for a failed or cancelled call without usage: its bill is zero."""
        return self.bill is None and self.kind in (OutcomeKind.FAILED, OutcomeKind.CANCELLED)


@dataclass(frozen=True, slots=True)
class MoneyChange:
    """What a transition adds to the window's counters, all in nano-USD."""

    held_nusd: int = 0
    spent_nusd: int = 0
    overrun_nusd: int = 0
    in_flight_nusd: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """The outcome after a feedback or expiry, with its status and its effect on the window."""

    outcome: Outcome
    status: FeedbackStatus
    money: MoneyChange = field(default_factory=MoneyChange)

    @property
    def changed(self) -> bool:
        """False for a duplicate: nothing is stored and nothing is logged."""
        return self.status is not FeedbackStatus.DUPLICATE


def apply_feedback(before: Outcome, feedback: Feedback) -> Transition:
    """The transition that `feedback` causes."""
    if feedback.idempotency_key and feedback.idempotency_key in before.idempotency_keys:
        return Transition(before, FeedbackStatus.DUPLICATE)
    after, billing_status = _apply_bill(before, feedback)
    after, reward_status = _apply_reward(after, feedback)
    after, detail_status = _apply_details(after, feedback)
    status = _combine(billing_status, reward_status, detail_status)
    if status is FeedbackStatus.DUPLICATE:
        return Transition(before, status)
    if feedback.idempotency_key:
        after = replace(after, idempotency_keys=after.idempotency_keys | {feedback.idempotency_key})
    return Transition(after, status, money_between(before, after))


def expire(before: Outcome) -> Transition:
    """The transition at a decision's deadline: nothing happens unless its hold still stands."""
    if before.billing is not Billing.HELD:
        return Transition(before, FeedbackStatus.DUPLICATE)
    charged_nusd = before.hold_nusd if before.expiry_charges else 0
    after = replace(before, billing=Billing.EXPIRED, cost_nusd=charged_nusd)
    return Transition(after, FeedbackStatus.APPLIED, money_between(before, after))


def money_between(before: Outcome, after: Outcome) -> MoneyChange:
    """Difference of what two outcomes of one decision mean for its window."""
    was_held, is_held = before.billing is Billing.HELD, after.billing is Billing.HELD
    return MoneyChange(
        held_nusd=after.held_nusd - before.held_nusd,
        spent_nusd=after.cost_nusd - before.cost_nusd,
        overrun_nusd=after.overrun_nusd - before.overrun_nusd,
        in_flight_nusd=after.expected_cost_nusd * (is_held - was_held),
    )


def _apply_bill(before: Outcome, feedback: Feedback) -> tuple[Outcome, FeedbackStatus | None]:
    if feedback.bill is None and not feedback.ends_unbilled:
        return before, None
    settled = before.billing in (Billing.BILLED, Billing.CANCELLED)
    if settled and not feedback.correct:
        return before, FeedbackStatus.DUPLICATE
    bill = feedback.bill
    after = replace(
        before,
        billing=Billing.CANCELLED if bill is None else Billing.BILLED,
        bill=bill,
        cost_nusd=0 if bill is None else bill.cost_nusd,
    )
    return after, FeedbackStatus.CORRECTED if settled else FeedbackStatus.APPLIED


def _apply_reward(before: Outcome, feedback: Feedback) -> tuple[Outcome, FeedbackStatus | None]:
    if feedback.retract:
        if before.reward is None:
            return before, FeedbackStatus.DUPLICATE
        return replace(before, reward=None), FeedbackStatus.CORRECTED
    if feedback.reward is None:
        return before, None
    if before.reward is None:
        return replace(before, reward=feedback.reward), FeedbackStatus.APPLIED
    if not feedback.correct:
        return before, FeedbackStatus.DUPLICATE
    return replace(before, reward=feedback.reward), FeedbackStatus.CORRECTED


def _apply_details(before: Outcome, feedback: Feedback) -> tuple[Outcome, FeedbackStatus | None]:
    """Outcome kind, latency and metrics: filled in where unset, replaced only by a correction."""
    if feedback.kind is OutcomeKind.UNSPECIFIED and feedback.latency_ms is None and not feedback.metrics:
        return before, None
    merged = dict(before.metrics)
    for name, value in feedback.metrics:
        if feedback.correct or name not in merged:
            merged[name] = value
    after = replace(
        before,
        kind=_pick(before.kind, feedback.kind, OutcomeKind.UNSPECIFIED, correct=feedback.correct),
        latency_ms=_pick(before.latency_ms, feedback.latency_ms, None, correct=feedback.correct),
        metrics=tuple(sorted(merged.items())),
    )
    return after, FeedbackStatus.APPLIED if after != before else None


def _pick(old: _T, new: _T, unset: _T, *, correct: bool) -> _T:
    if new == unset or (old != unset and not correct):
        return old
    return new


def _combine(*statuses: FeedbackStatus | None) -> FeedbackStatus:
    for status in (FeedbackStatus.CORRECTED, FeedbackStatus.APPLIED):
        if status in statuses:
            return status
    return FeedbackStatus.DUPLICATE
