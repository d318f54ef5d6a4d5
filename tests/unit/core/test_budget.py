from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from bandit_router.core.budget import Account, BudgetEditKind, LimitError, check_limit, opening_limit, reached
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import (
    Feedback,
    MoneyChange,
    Outcome,
    Transition,
    apply_feedback,
    expire,
    money_between,
)
from tests.builders import PROPERTY, amounts, feedbacks, make_outcome

signed = st.integers(-(10**6), 10**6)


class BudgetLaw(RuleBasedStateMachine):
    """Random holds, reports, corrections, expiries and edits against a plain list of decisions."""

    decisions = Bundle("decisions")

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(limit_nusd=10**6)
        self.outcomes: list[Outcome] = []
        self.written_off_nusd: list[int] = []
        self.was_lowered = False

    @rule(target=decisions, hold_nusd=amounts, expected_cost_nusd=amounts, charges=st.booleans())
    def hold(self, hold_nusd: int, expected_cost_nusd: int, charges: bool) -> int | None:
        if not self.account.fits(hold_nusd):
            return None
        self.account = self.account.hold(hold_nusd, expected_cost_nusd=expected_cost_nusd)
        assert self.account.free_nusd >= 0
        self.outcomes.append(make_outcome(hold_nusd, expected_cost_nusd=expected_cost_nusd, expiry_charges=charges))
        self.written_off_nusd.append(0)
        return len(self.outcomes) - 1

    @rule(decision=decisions, feedback=feedbacks)
    def report(self, decision: int | None, feedback: Feedback) -> None:
        if decision is not None:
            self.follow(decision, apply_feedback(self.outcomes[decision], feedback))

    @rule(decision=decisions)
    def pass_deadline(self, decision: int | None) -> None:
        if decision is not None:
            self.follow(decision, expire(self.outcomes[decision]))

    def follow(self, decision: int, transition: Transition) -> None:
        off_nusd = self.written_off_nusd[decision]
        bookings = [outcome.booking.less(off_nusd) for outcome in (self.outcomes[decision], transition.outcome)]
        self.account = self.account.change(money_between(*bookings))
        self.outcomes[decision] = transition.outcome

    @rule(amount_nusd=amounts)
    def set_limit(self, amount_nusd: int) -> None:
        self.was_lowered = self.was_lowered or amount_nusd < self.account.limit_nusd
        self.account = self.account.edit(BudgetEditKind.SET_LIMIT, amount_nusd)
        assert self.account.limit_nusd == amount_nusd

    @rule(amount_nusd=amounts)
    def grant(self, amount_nusd: int) -> None:
        limit_nusd = self.account.limit_nusd
        self.account = self.account.edit(BudgetEditKind.GRANT, amount_nusd)
        assert self.account.limit_nusd == limit_nusd + amount_nusd

    @rule()
    def reset(self) -> None:
        for decision, outcome in enumerate(self.outcomes):
            self.written_off_nusd[decision] = max(self.written_off_nusd[decision], outcome.cost_nusd)
        self.account = self.account.edit(BudgetEditKind.RESET, 0)

    @rule(decision=consumes(decisions))
    def lose_sight_of(self, decision: int | None) -> None:
        """The caller never reports on it again."""

    @invariant()
    def limit_is_free_and_held_and_spent(self) -> None:
        account = self.account
        assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd

    @invariant()
    def counters_are_the_sums_over_decisions(self) -> None:
        pairs = zip(self.outcomes, self.written_off_nusd, strict=True)
        bookings = [outcome.booking.less(off_nusd) for outcome, off_nusd in pairs]
        assert self.account.held_nusd == sum(o.held_nusd for o in self.outcomes)
        assert self.account.spent_nusd == sum(booking.spent_nusd for booking in bookings) >= 0
        assert self.account.overrun_nusd == sum(booking.overrun_nusd for booking in bookings) >= 0
        assert self.account.decisions == len(self.outcomes)

    @invariant()
    def held_and_spent_money_exceeds_the_limit_by_no_more_than_the_overrun(self) -> None:
        account = self.account
        if not self.was_lowered:
            assert account.held_nusd + account.spent_nusd <= account.limit_nusd + account.overrun_nusd

    @invariant()
    def only_standing_holds_are_in_flight(self) -> None:
        standing = sum(o.expected_cost_nusd for o in self.outcomes if o.billing.name == "HELD")
        assert self.account.in_flight_nusd == standing


TestBudgetLaw = BudgetLaw.TestCase
TestBudgetLaw.settings = settings(PROPERTY, max_examples=40, stateful_step_count=25)


@PROPERTY
@given(st.lists(st.tuples(amounts, st.integers(0, 100)), max_size=30), st.integers(0, 10**7))
def test_spend_never_passes_the_limit_while_bills_stay_within_their_holds(
    calls: list[tuple[int, int]], limit_nusd: int
) -> None:
    account = Account(limit_nusd)
    for hold_nusd, percent in calls:
        if account.fits(hold_nusd):
            account = account.hold(hold_nusd, expected_cost_nusd=0)
            bill_nusd = hold_nusd * percent // 100
            account = account.change(MoneyChange(held_nusd=-hold_nusd, spent_nusd=bill_nusd))
        assert 0 <= account.spent_nusd <= limit_nusd
        assert account.free_nusd >= 0


@PROPERTY
@given(amounts, amounts, amounts)
def test_a_hold_fits_exactly_up_to_what_is_free(limit_nusd: int, spent_nusd: int, hold_nusd: int) -> None:
    account = Account(limit_nusd, spent_nusd=spent_nusd)
    assert account.fits(hold_nusd) == (hold_nusd + spent_nusd <= limit_nusd)


def test_a_negative_hold_never_fits() -> None:
    assert not Account(100).fits(-1)


def test_nothing_fits_in_an_overdrawn_account_not_even_nothing() -> None:
    assert not Account(100, spent_nusd=101).fits(0)


@PROPERTY
@given(st.builds(Account, amounts, spent_nusd=amounts, held_nusd=amounts), amounts)
def test_edits_of_the_limit_leave_usage_alone(account: Account, amount_nusd: int) -> None:
    for kind in (BudgetEditKind.SET_LIMIT, BudgetEditKind.GRANT):
        after = account.edit(kind, amount_nusd)
        assert (after.spent_nusd, after.held_nusd) == (account.spent_nusd, account.held_nusd)


def test_a_reset_writes_off_spend_and_overrun_but_no_holds() -> None:
    account = Account(100, spent_nusd=70, held_nusd=20, overrun_nusd=5, in_flight_nusd=9, decisions=3)
    assert account.edit(BudgetEditKind.RESET, 0) == Account(100, held_nusd=20, in_flight_nusd=9, decisions=3)


@PROPERTY
@given(signed)
def test_limits_from_zero_on_are_accepted(limit_nusd: int) -> None:
    if limit_nusd >= 0:
        assert check_limit(limit_nusd) == limit_nusd
    else:
        with pytest.raises(LimitError):
            check_limit(limit_nusd)


def test_a_limit_beyond_exact_doubles_is_refused_with_the_largest_named() -> None:
    assert check_limit(MAX_LIMIT_NUSD) == MAX_LIMIT_NUSD
    with pytest.raises(LimitError, match=r"9007199\.254740992 USD"):
        check_limit(MAX_LIMIT_NUSD + 1)


def test_a_grant_may_not_lift_the_limit_beyond_exact_doubles() -> None:
    with pytest.raises(LimitError):
        Account(MAX_LIMIT_NUSD).edit(BudgetEditKind.GRANT, 1)


@PROPERTY
@given(amounts, st.builds(Account, amounts, spent_nusd=amounts, held_nusd=amounts), st.integers(1, 50))
def test_a_window_that_carries_over_opens_with_what_those_before_left(
    base_nusd: int, latest: Account, windows_since: int
) -> None:
    left_nusd = max(0, latest.limit_nusd - latest.spent_nusd - latest.held_nusd)
    for _ in range(windows_since):
        expected_nusd = base_nusd + left_nusd
        left_nusd = expected_nusd
    assert opening_limit(base_nusd, latest, windows_since=windows_since) == expected_nusd
    assert opening_limit(base_nusd, None, windows_since=windows_since) == base_nusd


def test_carried_over_money_stops_at_the_largest_limit() -> None:
    assert opening_limit(MAX_LIMIT_NUSD, Account(MAX_LIMIT_NUSD), windows_since=1) == MAX_LIMIT_NUSD
    assert opening_limit(MAX_LIMIT_NUSD // 2, Account(0), windows_since=10**6) == MAX_LIMIT_NUSD


@PROPERTY
@given(amounts, amounts, st.lists(st.integers(1, 100), max_size=4))
def test_shares_are_reached_exactly(limit_nusd: int, used_nusd: int, percents: list[int]) -> None:
    found = reached(Account(limit_nusd, spent_nusd=used_nusd), percents)
    assert found == max((p for p in percents if Fraction(p, 100) * limit_nusd <= used_nusd), default=0)
