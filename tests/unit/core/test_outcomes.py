from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.outcomes import (
    Bill,
    Billing,
    Feedback,
    FeedbackStatus,
    MoneyChange,
    Outcome,
    OutcomeKind,
    RewardSource,
    apply_feedback,
    expire,
    money_between,
)
from tests.builders import PROPERTY, bills, feedbacks, fresh_outcomes, make_outcome, outcomes, rewards

APPLIED, DUPLICATE, CORRECTED = FeedbackStatus.APPLIED, FeedbackStatus.DUPLICATE, FeedbackStatus.CORRECTED
EXPIRE = "expire"
steps = st.lists(feedbacks | st.just(EXPIRE), max_size=6)


def walk(outcome: Outcome, path: list[Feedback | str]) -> tuple[Outcome, list[MoneyChange]]:
    """The outcome at the end of the path, and every change of money on it."""
    changes = []
    for step in path:
        transition = expire(outcome) if isinstance(step, str) else apply_feedback(outcome, step)
        moved = money_between(outcome.booking, transition.outcome.booking)
        outcome = transition.outcome
        changes.append(moved)
    return outcome, changes


def total(changes: list[MoneyChange]) -> MoneyChange:
    return MoneyChange(
        sum(c.held_nusd for c in changes),
        sum(c.spent_nusd for c in changes),
        sum(c.overrun_nusd for c in changes),
        sum(c.in_flight_nusd for c in changes),
    )


def visible(outcome: Outcome) -> Outcome:
    """What remains when the memory of idempotency keys, and of what was let go on the way, is left out."""
    return replace(outcome, idempotency_keys=frozenset(), let_go_nusd=0)


@PROPERTY
@given(fresh_outcomes, steps)
def test_the_money_moved_is_the_difference_between_start_and_end(start: Outcome, path: list[Feedback | str]) -> None:
    end, changes = walk(start, path)
    assert total(changes) == money_between(start.booking, end.booking)


@PROPERTY
@given(fresh_outcomes, steps)
def test_money_is_either_held_or_booked_never_both(start: Outcome, path: list[Feedback | str]) -> None:
    end, _ = walk(start, path)
    if end.billing is Billing.HELD:
        assert (end.held_nusd, end.cost_nusd) == (start.hold_nusd, 0)
    else:
        assert end.held_nusd == 0


@PROPERTY
@given(fresh_outcomes, steps)
def test_what_is_booked_follows_from_how_the_billing_ended(start: Outcome, path: list[Feedback | str]) -> None:
    end, _ = walk(start, path)
    booked = {
        Billing.HELD: 0,
        Billing.CANCELLED: 0,
        Billing.EXPIRED: start.hold_nusd if start.expiry_charges else 0,
        Billing.BILLED: end.bill.cost_nusd if end.bill else None,
    }
    assert end.cost_nusd == booked[end.billing]
    assert (end.bill is not None) == (end.billing is Billing.BILLED)


@PROPERTY
@given(outcomes, feedbacks)
def test_a_duplicate_changes_nothing(before: Outcome, feedback: Feedback) -> None:
    transition = apply_feedback(before, feedback)
    if transition.status is DUPLICATE:
        assert transition.outcome == before
        assert not transition.changed


@PROPERTY
@given(fresh_outcomes, steps, feedbacks)
def test_the_same_report_twice_without_correction_is_a_duplicate(
    start: Outcome, path: list[Feedback | str], feedback: Feedback
) -> None:
    before, _ = walk(start, path)
    plain = replace(feedback, correct=False)
    once = apply_feedback(before, plain).outcome
    assert apply_feedback(once, plain).status is DUPLICATE


@PROPERTY
@given(fresh_outcomes, steps, feedbacks)
def test_a_repeated_correction_leaves_the_outcome_as_it_is(
    start: Outcome, path: list[Feedback | str], feedback: Feedback
) -> None:
    before, _ = walk(start, path)
    correction = replace(feedback, correct=True, idempotency_key="")
    once = apply_feedback(before, correction).outcome
    twice = apply_feedback(once, correction)
    assert twice.outcome == once


whole_reports = st.builds(
    Feedback,
    bill=bills,
    reward=rewards,
    kind=st.sampled_from([OutcomeKind.OK, OutcomeKind.FAILED]),
    latency_ms=st.integers(0, 1000),
)


@PROPERTY
@given(fresh_outcomes, st.lists(whole_reports, min_size=1, max_size=6), st.booleans())
def test_corrections_leave_the_outcome_as_if_only_the_last_value_had_come(
    start: Outcome, reports: list[Feedback], expired_first: bool
) -> None:
    path: list[Feedback | str] = [EXPIRE] if expired_first else []
    corrected, changes = walk(start, [*path, reports[0], *(replace(r, correct=True) for r in reports[1:])])
    only_last, last_changes = walk(start, [reports[-1]])
    assert visible(corrected) == visible(only_last)
    assert replace(total(changes), overrun_nusd=0) == replace(total(last_changes), overrun_nusd=0)


@PROPERTY
@given(fresh_outcomes, st.lists(st.one_of(st.none(), bills), min_size=1, max_size=6))
def test_bills_and_cancellations_may_correct_each_other(start: Outcome, values: list[Bill | None]) -> None:
    reports = [
        Feedback(bill=bill, kind=OutcomeKind.CANCELLED if bill is None else OutcomeKind.OK, correct=True)
        for bill in values
    ]
    corrected, changes = walk(start, list(reports))
    only_last, last_changes = walk(start, [reports[-1]])
    assert visible(corrected) == visible(only_last)
    assert replace(total(changes), overrun_nusd=0) == replace(total(last_changes), overrun_nusd=0)


@PROPERTY
@given(fresh_outcomes, bills, rewards, st.booleans())
def test_usage_and_reward_may_come_in_either_order_or_together(
    start: Outcome, bill: Bill, reward: float, expired_between: bool
) -> None:
    usage, score = Feedback(bill=bill), Feedback(reward=reward)
    middle: list[Feedback | str] = [EXPIRE] if expired_between else []
    together, _ = walk(start, [*middle, Feedback(bill=bill, reward=reward)])
    for first, second in permutations([usage, score]):
        apart, _ = walk(start, [first, *middle, second])
        assert visible(apart) == visible(together)


@PROPERTY
@given(fresh_outcomes, bills)
def test_a_late_bill_replaces_the_charge_of_expiry(start: Outcome, bill: Bill) -> None:
    late, changes = walk(start, [EXPIRE, Feedback(bill=bill)])
    punctual, direct = walk(start, [Feedback(bill=bill)])
    assert visible(late) == visible(punctual)
    assert replace(total(changes), overrun_nusd=0) == replace(total(direct), overrun_nusd=0)


@PROPERTY
@given(fresh_outcomes)
def test_expiry_charges_the_hold_or_releases_it_as_configured(start: Outcome) -> None:
    transition = expire(start)
    charged_nusd = start.hold_nusd if start.expiry_charges else 0
    assert transition.status is APPLIED
    assert transition.outcome.billing is Billing.EXPIRED
    money = money_between(start.booking, transition.outcome.booking)
    assert money == MoneyChange(-start.hold_nusd, charged_nusd, 0, -start.expected_cost_nusd)


@PROPERTY
@given(outcomes)
def test_expiry_touches_standing_holds_only(before: Outcome) -> None:
    transition = expire(before)
    assert transition.changed == (before.billing is Billing.HELD)
    if not transition.changed:
        assert transition.outcome == before


@PROPERTY
@given(fresh_outcomes, steps, rewards)
def test_a_retracted_reward_leaves_no_trace(start: Outcome, path: list[Feedback | str], reward: float) -> None:
    before, _ = walk(start, path)
    unrewarded = replace(before, reward=None, reward_source=RewardSource.CALLER)
    rewarded = apply_feedback(unrewarded, Feedback(reward=reward)).outcome
    retraction = apply_feedback(rewarded, Feedback(retract=True))
    assert retraction.status is CORRECTED
    assert retraction.outcome == replace(unrewarded, reward_source=RewardSource.WITHDRAWN)


@PROPERTY
@given(fresh_outcomes, feedbacks, feedbacks)
def test_a_known_idempotency_key_makes_any_report_a_duplicate(
    start: Outcome, first: Feedback, second: Feedback
) -> None:
    before = apply_feedback(start, replace(first, reward=0.5, retract=False, idempotency_key="k")).outcome
    again = apply_feedback(before, replace(second, correct=True, idempotency_key="k"))
    assert again.status is DUPLICATE
    assert again.outcome == before


@PROPERTY
@given(fresh_outcomes, steps)
def test_keys_of_reports_that_changed_nothing_are_not_kept(start: Outcome, path: list[Feedback | str]) -> None:
    before, _ = walk(start, path)
    empty = apply_feedback(before, Feedback(idempotency_key="fresh"))
    assert empty.status is DUPLICATE
    assert "fresh" not in empty.outcome.idempotency_keys


@PROPERTY
@given(fresh_outcomes, bills)
def test_overrun_is_what_the_bill_exceeds_the_hold_by(start: Outcome, bill: Bill) -> None:
    outcome = apply_feedback(start, Feedback(bill=bill)).outcome
    assert outcome.overrun_nusd == max(0, bill.cost_nusd - start.hold_nusd)


@PROPERTY
@given(fresh_outcomes, steps)
def test_overrun_is_what_the_cost_exceeds_the_least_that_was_covered_by(
    start: Outcome, path: list[Feedback | str]
) -> None:
    outcome, covered_nusd = start, start.hold_nusd
    for step in path:
        outcome, _ = walk(outcome, [step])
        if outcome.billing is not Billing.HELD:
            covered_nusd = min(covered_nusd, outcome.cost_nusd)
    assert outcome.overrun_nusd == max(0, outcome.cost_nusd - covered_nusd)


@PROPERTY
@given(fresh_outcomes, steps, steps)
def test_what_a_reset_has_written_off_never_makes_a_counter_negative(
    start: Outcome, before: list[Feedback | str], after: list[Feedback | str]
) -> None:
    at_reset, _ = walk(start, before)
    booking = walk(at_reset, after)[0].booking.less(at_reset.cost_nusd)
    assert min(booking.spent_nusd, booking.overrun_nusd) >= 0
    if at_reset.cost_nusd:
        assert (
            booking.spent_nusd
            == booking.overrun_nusd
            == max(0, walk(at_reset, after)[0].cost_nusd - at_reset.cost_nusd)
        )


BILL, OTHER_BILL = Bill(40, 10, 20, 0), Bill(70)
BILLED = make_outcome(billing=Billing.BILLED, bill=BILL, cost_nusd=40)
CANCELLED = make_outcome(billing=Billing.CANCELLED, kind=OutcomeKind.CANCELLED)
EXPIRED = make_outcome(billing=Billing.EXPIRED, cost_nusd=100)
REWARDED = make_outcome(reward=0.5)


@pytest.mark.parametrize(
    ("before", "feedback", "status", "billing", "cost_nusd"),
    [
        (make_outcome(), Feedback(bill=BILL), APPLIED, Billing.BILLED, 40),
        (make_outcome(), Feedback(kind=OutcomeKind.CANCELLED), APPLIED, Billing.CANCELLED, 0),
        (make_outcome(), Feedback(kind=OutcomeKind.FAILED), APPLIED, Billing.CANCELLED, 0),
        (make_outcome(), Feedback(kind=OutcomeKind.FAILED, bill=BILL), APPLIED, Billing.BILLED, 40),
        (make_outcome(), Feedback(kind=OutcomeKind.OK), APPLIED, Billing.HELD, 0),
        (make_outcome(), Feedback(reward=0.5), APPLIED, Billing.HELD, 0),
        (make_outcome(), Feedback(), DUPLICATE, Billing.HELD, 0),
        (make_outcome(), Feedback(bill=BILL, correct=True), APPLIED, Billing.BILLED, 40),
        (BILLED, Feedback(bill=OTHER_BILL), DUPLICATE, Billing.BILLED, 40),
        (BILLED, Feedback(bill=OTHER_BILL, correct=True), CORRECTED, Billing.BILLED, 70),
        (BILLED, Feedback(bill=OTHER_BILL, reward=0.5), APPLIED, Billing.BILLED, 40),
        (BILLED, Feedback(kind=OutcomeKind.CANCELLED, correct=True), CORRECTED, Billing.CANCELLED, 0),
        (CANCELLED, Feedback(bill=BILL), DUPLICATE, Billing.CANCELLED, 0),
        (CANCELLED, Feedback(bill=BILL, correct=True), CORRECTED, Billing.BILLED, 40),
        (CANCELLED, Feedback(kind=OutcomeKind.CANCELLED), DUPLICATE, Billing.CANCELLED, 0),
        (EXPIRED, Feedback(bill=BILL), APPLIED, Billing.BILLED, 40),
        (EXPIRED, Feedback(kind=OutcomeKind.CANCELLED), APPLIED, Billing.CANCELLED, 0),
        (EXPIRED, Feedback(reward=0.5), APPLIED, Billing.EXPIRED, 100),
    ],
)
def test_every_row_of_the_billing_rules(
    before: Outcome, feedback: Feedback, status: FeedbackStatus, billing: Billing, cost_nusd: int
) -> None:
    transition = apply_feedback(before, feedback)
    assert (transition.status, transition.outcome.billing, transition.outcome.cost_nusd) == (status, billing, cost_nusd)


@pytest.mark.parametrize(
    ("before", "feedback", "status", "reward"),
    [
        (make_outcome(), Feedback(reward=0.9), APPLIED, 0.9),
        (make_outcome(), Feedback(reward=0.9, correct=True), APPLIED, 0.9),
        (make_outcome(), Feedback(retract=True), DUPLICATE, None),
        (REWARDED, Feedback(reward=0.9), DUPLICATE, 0.5),
        (REWARDED, Feedback(reward=0.9, correct=True), CORRECTED, 0.9),
        (REWARDED, Feedback(reward=0.9, bill=BILL), APPLIED, 0.5),
        (REWARDED, Feedback(retract=True), CORRECTED, None),
    ],
)
def test_every_row_of_the_reward_rules(
    before: Outcome, feedback: Feedback, status: FeedbackStatus, reward: float | None
) -> None:
    transition = apply_feedback(before, feedback)
    assert (transition.status, transition.outcome.reward) == (status, reward)


def test_latency_and_metrics_are_filled_in_and_replaced_by_corrections_only() -> None:
    first = apply_feedback(make_outcome(), Feedback(latency_ms=10, metrics=(("a", 1.0),))).outcome
    second = apply_feedback(first, Feedback(latency_ms=20, metrics=(("a", 2.0), ("b", 3.0)))).outcome
    assert (second.latency_ms, second.metrics) == (10, (("a", 1.0), ("b", 3.0)))
    third = apply_feedback(second, Feedback(latency_ms=20, metrics=(("a", 2.0),), correct=True)).outcome
    assert (third.latency_ms, third.metrics) == (20, (("a", 2.0), ("b", 3.0)))
