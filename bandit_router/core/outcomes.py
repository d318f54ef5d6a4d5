"""The life of a decision after Route: every legal transition of its outcome, and what each does to the money.

    billing:   HELD ──usage──▶ BILLED ──correct──▶ BILLED
                 │──cancelled / failed without usage──▶ CANCELLED (bill of zero)
                 └──deadline──▶ EXPIRED (charged at its hold, or released at zero) ──late usage──▶ BILLED
    reward:    none ──reward──▶ set ──correct──▶ set ──retract──▶ withdrawn ──reward──▶ set
                 └──its deadline (billed answers of pools with a default)──▶ default ──reward──▶ set
                                                                               └──retract──▶ withdrawn

Usage and reward are independent: either may come first, alone, late or never. A default is nobody's report: the first
reward that is reported replaces it, and it stands only while the call counts as answered. What a caller has withdrawn
is not replaced by a default. Without `correct`, a second value for
what is already set is a duplicate and changes nothing. With it the new value replaces the old one, and the change of
the money is the difference, so any sequence of corrections leaves `spent` as if only the last value had ever come.

What a bill leaves of the hold is let go for good: others may have it. A bill that later grows beyond what is still
covered, be it by a correction or by usage after a cancellation or a released expiry, is an overrun by the difference.

This file is the only place that knows these rules: a store reads the outcome with its revision, the transition is
computed here, and the store commits it (outcome, money, event) only if the revision is still the one that was read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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


class RewardSource(Enum):
    """Who says what the reward is. The values are what the stores keep."""

    CALLER = ""
    """A report, if there is a reward at all."""

    DEFAULT = "default"
    """Nobody: the pool's default was assumed."""

    WITHDRAWN = "withdrawn"
    """A report that took the reward back: there is none, and none is to be assumed."""


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
    """Everything mutable about a decision. `hold_nusd` is the original hold; `cost_nusd` what is booked as spent.

    `let_go_nusd`: the most that has ever been given back of the hold.
    """

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
    let_go_nusd: int = 0
    reward_source: RewardSource = RewardSource.CALLER

    @property
    def is_answered(self) -> bool:
        """Whether the call is known to have brought an answer: billed, and not failed or cancelled."""
        return self.billing is Billing.BILLED and self.kind not in (OutcomeKind.FAILED, OutcomeKind.CANCELLED)

    @property
    def lacks_reward(self) -> bool:
        """Whether a default may be assumed: an answer about which no reward has been reported, or taken back."""
        return self.is_answered and self.reward is None and self.reward_source is RewardSource.CALLER

    @property
    def reported_reward(self) -> float | None:
        """The reward that a caller has reported."""
        return self.reward if self.reward_source is RewardSource.CALLER else None

    @property
    def held_nusd(self) -> int:
        """Money still set aside."""
        return self.hold_nusd if self.billing is Billing.HELD else 0

    @property
    def overrun_nusd(self) -> int:
        """By how much the booked cost exceeds what has been set aside for it ever since."""
        return max(0, self.cost_nusd - (self.hold_nusd - self.let_go_nusd))

    @property
    def booking(self) -> Booking:
        """What this decision counts for in its windows."""
        stands = self.billing is Billing.HELD
        return Booking(
            stands=stands,
            held_nusd=self.held_nusd,
            spent_nusd=self.cost_nusd,
            overrun_nusd=self.overrun_nusd,
            in_flight_nusd=self.expected_cost_nusd if stands else 0,
        )

    def settled(self, billing: Billing, bill: Bill | None, cost_nusd: int) -> Outcome:
        """The outcome with this cost booked, and the rest of the hold let go."""
        let_go_nusd = max(self.let_go_nusd, self.hold_nusd - cost_nusd)
        return replace(self, billing=billing, bill=bill, cost_nusd=cost_nusd, let_go_nusd=let_go_nusd)


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
class Booking:
    """What one decision counts for in a window, all in nano-USD. `stands`: its hold has not been settled."""

    stands: bool
    held_nusd: int = 0
    spent_nusd: int = 0
    overrun_nusd: int = 0
    in_flight_nusd: int = 0

    def less(self, written_off_nusd: int) -> Booking:
        """What it counts for after a reset had written off this much of its cost.

        A reset gives all of its money away: what the cost grows beyond that is not covered by anything.
        """
        if not written_off_nusd:
            return self
        left_nusd = max(0, self.spent_nusd - written_off_nusd)
        return replace(self, spent_nusd=left_nusd, overrun_nusd=left_nusd)


@dataclass(frozen=True, slots=True)
class MoneyChange:
    """What a transition adds to a window's counters, all in nano-USD."""

    held_nusd: int = 0
    spent_nusd: int = 0
    overrun_nusd: int = 0
    in_flight_nusd: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """The outcome after a feedback or expiry, with its status."""

    outcome: Outcome
    status: FeedbackStatus

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
    after = _without_baseless_default(after)
    status = _combine(billing_status, reward_status, detail_status)
    if status is FeedbackStatus.DUPLICATE:
        return Transition(before, status)
    if feedback.idempotency_key:
        after = replace(after, idempotency_keys=after.idempotency_keys | {feedback.idempotency_key})
    return Transition(after, status)


def expire(before: Outcome) -> Transition:
    """The transition at a decision's deadline: nothing happens unless its hold still stands."""
    if before.billing is not Billing.HELD:
        return Transition(before, FeedbackStatus.DUPLICATE)
    charged_nusd = before.hold_nusd if before.expiry_charges else 0
    return Transition(before.settled(Billing.EXPIRED, None, charged_nusd), FeedbackStatus.APPLIED)


def assume_reward(before: Outcome, reward: float) -> Transition:
    """The transition when the time for a reward is over: the pool's default is assumed, unless there is no need."""
    if not before.lacks_reward:
        return Transition(before, FeedbackStatus.DUPLICATE)
    after = replace(before, reward=reward, reward_source=RewardSource.DEFAULT)
    return Transition(after, FeedbackStatus.APPLIED)


def milestones(before: Outcome, after: Outcome) -> tuple[str, ...]:
    """What a change has brought about of what is counted per arm, to see how many answers stay without a reward."""
    is_default = after.reward_source is RewardSource.DEFAULT
    reached = {
        "answers_billed": after.is_answered and not before.is_answered,
        "rewards_reported": after.reported_reward is not None and before.reported_reward is None,
        "rewards_withdrawn": after.reported_reward is None and before.reported_reward is not None,
        "rewards_defaulted": is_default and before.reward_source is not RewardSource.DEFAULT,
    }
    return tuple(name for name, is_reached in reached.items() if is_reached)


def money_between(before: Booking, after: Booking) -> MoneyChange:
    """Difference of what two outcomes of one decision count for in a window."""
    return MoneyChange(
        held_nusd=after.held_nusd - before.held_nusd,
        spent_nusd=after.spent_nusd - before.spent_nusd,
        overrun_nusd=after.overrun_nusd - before.overrun_nusd,
        in_flight_nusd=after.in_flight_nusd - before.in_flight_nusd,
    )


def _apply_bill(before: Outcome, feedback: Feedback) -> tuple[Outcome, FeedbackStatus | None]:
    if feedback.bill is None and not feedback.ends_unbilled:
        return before, None
    settled = before.billing in (Billing.BILLED, Billing.CANCELLED)
    if settled and not feedback.correct:
        return before, FeedbackStatus.DUPLICATE
    bill = feedback.bill
    billing = Billing.CANCELLED if bill is None else Billing.BILLED
    after = before.settled(billing, bill, 0 if bill is None else bill.cost_nusd)
    return after, FeedbackStatus.CORRECTED if settled else FeedbackStatus.APPLIED


def _apply_reward(before: Outcome, feedback: Feedback) -> tuple[Outcome, FeedbackStatus | None]:
    if feedback.retract:
        if before.reward is None:
            return before, FeedbackStatus.DUPLICATE
        return replace(before, reward=None, reward_source=RewardSource.WITHDRAWN), FeedbackStatus.CORRECTED
    if feedback.reward is None:
        return before, None
    after = replace(before, reward=feedback.reward, reward_source=RewardSource.CALLER)
    if before.reported_reward is None:
        return after, FeedbackStatus.APPLIED
    return (after, FeedbackStatus.CORRECTED) if feedback.correct else (before, FeedbackStatus.DUPLICATE)


def _without_baseless_default(outcome: Outcome) -> Outcome:
    """Without a default that was assumed of a call that, as it turns out, has not been answered."""
    if outcome.reward_source is not RewardSource.DEFAULT or outcome.is_answered:
        return outcome
    return replace(outcome, reward=None, reward_source=RewardSource.CALLER)


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
