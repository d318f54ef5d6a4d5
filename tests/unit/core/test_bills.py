from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.bills import LARGEST_RATIO, LEAST_RATIO, SHRINKAGE, BillSums, calibrate, estimate_of
from bandit_router.core.budget_policies.protocol import LinearCharge
from bandit_router.core.choice import quote_arms
from bandit_router.core.decision import Decision
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.outcomes import Bill, Billing, Feedback, Outcome, OutcomeKind, apply_feedback, expire
from bandit_router.core.pool_state import PoolState
from bandit_router.core.quotes import ArmQuote
from bandit_router.core.resources import HoldPolicy
from tests.builders import PROPERTY, SMALL, feedbacks, make_decision, make_outcome, make_prices, make_query, make_quote

ESTIMATE_NUSD = 100 * 1000 + 300 * 2000


def decision_of(learned_bills: int, *, expected_output_tokens: float = 300.0) -> Decision:
    """Expected to cost 700,000 nano-USD, as far as so many bills of the arm could tell."""
    quote = make_quote(expected_output_tokens=expected_output_tokens, expected_cost_nusd=1)
    return make_decision(quotes=(quote,), prices=make_prices(1, 2), prompt_tokens=100, learned_bills=learned_bills)


def billed(cost_nusd: int, kind: OutcomeKind = OutcomeKind.OK) -> Outcome:
    return make_outcome(billing=Billing.BILLED, bill=Bill(cost_nusd), cost_nusd=cost_nusd, kind=kind)


def sums_of(*bills: tuple[int, Outcome]) -> BillSums:
    """Sums over bills, each with how many bills its estimate was made from."""
    found = BillSums()
    for learned_bills, outcome in bills:
        found = found.changed(decision_of(learned_bills), make_outcome(), outcome)
    return found


def test_an_arm_without_bills_costs_what_is_estimated() -> None:
    assert calibrate({}, ["a", "b"]).ratios.tolist() == [1.0, 1.0]
    assert calibrate({}, ["a", "b"]).counts == (0, 0)


def test_the_estimate_is_at_the_decisions_list_prices_whatever_the_correction_was_then() -> None:
    assert estimate_of(decision_of(5)) == ESTIMATE_NUSD
    assert estimate_of(decision_of(5, expected_output_tokens=299.5)) == ESTIMATE_NUSD
    assert estimate_of(replace(decision_of(5), cached_tokens=40)) == ESTIMATE_NUSD - 40 * (1000 - 100)


def test_estimates_by_the_bare_prior_have_no_say() -> None:
    assert sums_of(*[(0, billed(50 * ESTIMATE_NUSD))] * 30).ratio == 1.0


def test_bills_twice_the_estimates_are_believed_as_they_become_many() -> None:
    ratios = [sums_of(*[(10, billed(2 * ESTIMATE_NUSD))] * count).ratio for count in (1, 100, 10_000)]
    assert ratios == pytest.approx([1 + n / (n + SHRINKAGE) for n in (1, 100, 10_000)])


def test_later_estimates_weigh_more_than_earlier_ones() -> None:
    found = sums_of((1, billed(ESTIMATE_NUSD)), (3, billed(2 * ESTIMATE_NUSD)))
    bills = (1 + 3) ** 2 / (1 + 9)
    assert found.ratio == pytest.approx(1 + bills / (bills + SHRINKAGE) * (7 / 4 - 1))


@pytest.mark.parametrize(("cost_nusd", "bound"), [(0, LEAST_RATIO), (10**9, LARGEST_RATIO)])
def test_corrections_are_bounded(cost_nusd: int, bound: float) -> None:
    assert sums_of(*[(7, billed(cost_nusd))] * 3000).ratio == bound


def test_an_estimate_of_nothing_corrects_nothing() -> None:
    free = replace(decision_of(4), prices=make_prices(0, 0, 0))
    assert BillSums().changed(free, make_outcome(), billed(10)).ratio == 1.0


@pytest.mark.parametrize(
    "outcome",
    [billed(9, OutcomeKind.FAILED), billed(9, OutcomeKind.CANCELLED), expire(make_outcome()).outcome],
)
def test_what_was_booked_without_an_answer_is_spent_but_tells_nothing(outcome: Outcome) -> None:
    assert sums_of((4, outcome)) == BillSums(spent_nusd=outcome.cost_nusd)


lives = st.lists(st.tuples(st.integers(0, 50), st.lists(feedbacks, max_size=3), st.booleans()), max_size=6)


def outcomes_of(path: list[Feedback], *, expires: bool) -> list[Outcome]:
    found = [expire(make_outcome()).outcome if expires else make_outcome()]
    for feedback in path:
        found.append(apply_feedback(found[-1], feedback).outcome)
    return [make_outcome(), *found]


@PROPERTY
@given(lives, st.randoms(use_true_random=False))
def test_sums_are_exactly_those_of_the_last_outcomes_in_any_order(
    history: list[tuple[int, list[Feedback], bool]], shuffler: object
) -> None:
    steps, final = [], BillSums()
    for learned_bills, path, expires in history:
        decision, outcomes = decision_of(learned_bills), outcomes_of(path, expires=expires)
        steps += [(decision, before, after) for before, after in pairwise(outcomes)]
        final = final.changed(decision, outcomes[0], outcomes[-1])
    shuffler.shuffle(steps)  # type: ignore[attr-defined]
    folded = BillSums()
    for step in steps:
        folded = folded.changed(*step)
    assert folded == final


def table_with(sums: BillSums) -> ArmTable:
    state = PoolState(4, bills={SMALL.arm_id: sums})
    return ArmTable.of(build_model(state, [SMALL.arm_id], parse_learner("linucb")), [SMALL])


DEARER = sums_of(*[(50, billed(3 * ESTIMATE_NUSD))] * 500)


def quote_by(sums: BillSums, hold_policy: HoldPolicy) -> ArmQuote:
    (quote,) = quote_arms(table_with(sums), make_query(), charge=LinearCharge(1000.0), hold_policy=hold_policy)
    return quote


def test_expected_costs_scores_and_the_reservoirs_costs_are_corrected() -> None:
    plain, dearer = (quote_by(sums, HoldPolicy.WORST_CASE) for sums in (BillSums(), DEARER))
    assert dearer.expected_cost_nusd == pytest.approx(DEARER.ratio * plain.expected_cost_nusd, abs=1)
    assert dearer.score == pytest.approx(plain.score - 1e-6 * (dearer.expected_cost_nusd - plain.expected_cost_nusd))
    assert dearer.expected_output_tokens == plain.expected_output_tokens
    contexts, prompts = np.array([[1.0, 0.0, 0.5, -0.5]]), np.array([100.0])
    tables = [table_with(sums) for sums in (BillSums(), DEARER)]
    usual, corrected = (table.costs_usd(table.model.predict(contexts), prompts)[0, 0] for table in tables)
    assert corrected == pytest.approx(DEARER.ratio * usual)


@pytest.mark.parametrize("hold_policy", [HoldPolicy.WORST_CASE, HoldPolicy.QUANTILE])
def test_holds_at_list_prices_are_not_corrected(hold_policy: HoldPolicy) -> None:
    assert quote_by(DEARER, hold_policy).hold_nusd == quote_by(BillSums(), hold_policy).hold_nusd


def test_an_expected_hold_is_corrected_with_the_expected_cost() -> None:
    quote = quote_by(DEARER, HoldPolicy.EXPECTED)
    assert quote.hold_nusd == quote.expected_cost_nusd > quote_by(BillSums(), HoldPolicy.EXPECTED).hold_nusd
