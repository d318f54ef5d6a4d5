"""Default rewards in the life of an outcome: nobody's report, replaced by the first that comes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given

from bandit_router.core.codec import decode_decision, decode_outcome, encode_decision, encode_outcome
from bandit_router.core.decision import DefaultReward
from bandit_router.core.outcomes import (
    Bill,
    Billing,
    Feedback,
    FeedbackStatus,
    Outcome,
    OutcomeKind,
    RewardSource,
    apply_feedback,
    assume_reward,
    expire,
    milestones,
)
from tests.builders import PROPERTY, feedbacks, make_decision, make_outcome, outcomes, rewards

APPLIED, DUPLICATE, CORRECTED = FeedbackStatus.APPLIED, FeedbackStatus.DUPLICATE, FeedbackStatus.CORRECTED
HELD = make_outcome()
BILLED = apply_feedback(HELD, Feedback(bill=Bill(40))).outcome
DEFAULTED = assume_reward(BILLED, 0.25).outcome


def after(before: Outcome, **report: object) -> Outcome:
    return apply_feedback(before, Feedback(**report)).outcome  # type: ignore[arg-type]


def test_a_default_is_assumed_of_an_answer_that_has_no_reward() -> None:
    transition = assume_reward(BILLED, 0.25)
    assert transition.status is APPLIED
    assert transition.outcome == replace(BILLED, reward=0.25, reward_source=RewardSource.DEFAULT)
    assert transition.outcome.reported_reward is None


@pytest.mark.parametrize(
    "before",
    [
        HELD,
        expire(HELD).outcome,
        after(HELD, kind=OutcomeKind.CANCELLED),
        after(HELD, kind=OutcomeKind.FAILED, bill=Bill(3)),
        after(BILLED, reward=0.0),
        after(after(BILLED, reward=0.5), retract=True),
        DEFAULTED,
    ],
)
def test_nothing_is_assumed_of_what_is_no_answer_or_has_been_spoken_of(before: Outcome) -> None:
    transition = assume_reward(before, 0.25)
    assert not transition.changed
    assert transition.outcome == before


@PROPERTY
@given(outcomes, rewards, feedbacks)
def test_a_report_after_a_default_does_what_it_would_have_done_without(
    start: Outcome, default: float, report: Feedback
) -> None:
    before = replace(start, billing=Billing.BILLED, reward=None, kind=OutcomeKind.UNSPECIFIED)
    assume(not report.retract)
    expected, found = apply_feedback(before, report), apply_feedback(assume_reward(before, default).outcome, report)
    if report.reward is None and found.outcome.is_answered:
        found = replace(found, outcome=replace(found.outcome, reward=None, reward_source=RewardSource.CALLER))
    assert found == expected


def test_a_reward_that_comes_late_replaces_the_default_without_being_a_correction() -> None:
    late = apply_feedback(DEFAULTED, Feedback(reward=0.75))
    assert late.status is APPLIED
    assert late.outcome == after(BILLED, reward=0.75)
    assert apply_feedback(late.outcome, Feedback(reward=0.5)).status is DUPLICATE


def test_a_reward_equal_to_the_default_is_a_report_all_the_same() -> None:
    late = apply_feedback(DEFAULTED, Feedback(reward=0.25))
    assert late.status is APPLIED
    assert late.outcome.reported_reward == 0.25


def test_a_default_that_is_retracted_is_not_assumed_again() -> None:
    retraction = apply_feedback(DEFAULTED, Feedback(retract=True))
    assert retraction.status is CORRECTED
    assert not retraction.outcome.lacks_reward
    assert apply_feedback(retraction.outcome, Feedback(reward=1.0)).status is APPLIED


def test_a_default_goes_with_the_answer_that_it_was_assumed_of() -> None:
    failed = after(DEFAULTED, kind=OutcomeKind.FAILED, correct=True)
    assert (failed.reward, failed.lacks_reward) == (None, False)
    reported = after(after(DEFAULTED, reward=0.25), kind=OutcomeKind.FAILED, correct=True)
    assert reported.reward == 0.25


def test_usage_that_comes_after_the_hold_has_expired_makes_room_for_a_default() -> None:
    late = after(expire(HELD).outcome, bill=Bill(40))
    assert late.lacks_reward


@pytest.mark.parametrize("outcome", [DEFAULTED, after(DEFAULTED, retract=True), after(BILLED, reward=0.5)])
def test_who_said_what_the_reward_is_is_stored(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


def test_the_terms_of_a_default_are_stored_with_the_decision() -> None:
    decision = make_decision(default_reward=DefaultReward(0.25, 60_000))
    assert decode_decision(encode_decision(decision)) == decision


def test_records_without_defaults_are_written_as_before() -> None:
    assert b"default" not in encode_decision(make_decision())
    assert b"said" not in encode_outcome(after(BILLED, reward=0.5))


@pytest.mark.parametrize(
    ("before", "then", "expected"),
    [
        (HELD, BILLED, {"answers_billed"}),
        (HELD, after(BILLED, reward=0.5), {"answers_billed", "rewards_reported"}),
        (BILLED, DEFAULTED, {"rewards_defaulted"}),
        (DEFAULTED, after(DEFAULTED, reward=0.5), {"rewards_reported"}),
        (DEFAULTED, after(DEFAULTED, retract=True), set()),
        (after(BILLED, reward=0.5), after(after(BILLED, reward=0.5), retract=True), {"rewards_withdrawn"}),
        (after(BILLED, reward=0.5), after(BILLED, reward=0.7), set()),
        (HELD, expire(HELD).outcome, set()),
    ],
)
def test_what_is_counted_of_a_change(before: Outcome, then: Outcome, expected: set[str]) -> None:
    assert set(milestones(before, then)) == expected
