"""The checkers' own arithmetic: it agrees with the product on right answers, and rejects wrong ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.choice import draw_arm, weigh_round
from bandit_router.core.decision import Decision, DefaultReward, Round
from bandit_router.core.draw import uniform
from bandit_router.core.explorations.igw import inverse_gap_weights
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.outcomes import Feedback, Outcome, apply_feedback, assume_reward, expire
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.resources import WindowKind
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import BudgetEdit, Level
from bandit_router.service.feedback import make_feedback
from bandit_router.service.messages import FeedbackRequest, Usage
from bandit_router.service.route import exact_propensities
from bandit_router_sim.world.books import Books, Entry, Period, Purse
from bandit_router_sim.world.draws import check_decision, weights_of
from bandit_router_sim.world.expectations import after_deadline, after_feedback, after_silence, default_due_ms
from bandit_router_sim.world.failure import Violation
from bandit_router_sim.world.leases import Leases
from bandit_router_sim.world.lessons import Lessons
from tests.builders import PROPERTY, make_decision, make_outcome, make_quote, make_quotes, outcomes

HOLDS = (100, 400, 900)
HOUR = Window(3_600_000, 7_200_000, 0, WindowKind.HOUR, 1)

usages = st.builds(
    Usage,
    input_tokens=st.none() | st.integers(0, 5000),
    output_tokens=st.none() | st.integers(0, 5000),
    cached_input_tokens=st.none() | st.integers(0, 5000),
    cost_nusd=st.none() | st.integers(0, 10**6),
)
reports = st.builds(
    FeedbackRequest,
    tenant_id=st.just("acme"),
    decision_id=st.just("d"),
    usage=st.none() | usages,
    reward=st.none() | st.floats(0, 1),
    outcome=st.sampled_from(list(type(make_outcome().kind))),
    metrics=st.dictionaries(st.sampled_from(["ttft", "score"]), st.floats(-9, 9), max_size=2),
    latency_ms=st.none() | st.integers(0, 10**5),
    idempotency_key=st.sampled_from(["", "", "a"]),
    correct=st.booleans(),
    retract=st.booleans(),
).filter(lambda report: not (report.retract and report.reward is not None))


spoken_of = outcomes.map(lambda outcome: apply_feedback(outcome, Feedback(retract=True)).outcome)
"""Outcomes whose reward has been taken back, where there was one."""

silent = outcomes.map(lambda outcome: assume_reward(outcome, 0.25).outcome)
"""Outcomes with a default, where one may be assumed."""


@PROPERTY
@given(before=outcomes | spoken_of | silent, report=reports)
def test_the_table_of_slots_and_the_products_transitions_agree(before: Outcome, report: FeedbackRequest) -> None:
    decision = make_decision()
    found = apply_feedback(before, make_feedback(report, decision))
    assert after_feedback(before, report, decision) == (found.outcome, found.status)


@PROPERTY
@given(before=st.builds(make_outcome, st.integers(0, 10**6), expiry_charges=st.booleans()))
def test_an_expired_hold_is_charged_or_released(before: Outcome) -> None:
    assert after_deadline(before) == expire(before).outcome


@PROPERTY
@given(before=outcomes | spoken_of | silent)
def test_a_default_is_due_of_the_same_outcomes_and_leaves_the_same(before: Outcome) -> None:
    decision = make_decision(default_reward=DefaultReward(0.25, 7))
    found = assume_reward(before, 0.25)
    assert default_due_ms(before, decision) == (7 if found.changed else None)
    assert default_due_ms(before, make_decision()) is None
    if found.changed:
        assert after_silence(before, decision) == found.outcome


@PROPERTY
@given(scores=st.lists(st.floats(-50, 2), min_size=1, max_size=6), scale=st.floats(0.1, 3000))
def test_bisection_and_newton_give_the_same_weights(scores: list[float], scale: float) -> None:
    assert weights_of(scores, scale) == pytest.approx(inverse_gap_weights(np.array(scores), scale).tolist(), abs=1e-9)


def drawn(free: tuple[int, ...], *, request_id: str = "q") -> Decision:
    """A decision over three arms that found so much money free, round by round (the last: at its hold)."""
    quotes = make_quotes(*[make_quote(f"m{i}", hold_nusd=hold, score=0.1 * i) for i, hold in enumerate(HOLDS)])
    exploration, arms, rounds = Exploration("igw", 3.0), (0, 1, 2), []
    for number in range(len(free)):
        rounds.append(weigh_round(quotes, arms, exploration, seed=0, key=""))
        chosen = draw_arm(rounds[-1], uniform(0, request_id, number))
        if HOLDS[chosen] <= free[number]:
            break
        arms = tuple(arm for arm in arms if HOLDS[arm] <= free[number])
    return make_decision(
        quotes=quotes, rounds=tuple(rounds), chosen=chosen, exploration=exploration, request_id=request_id
    )


@pytest.mark.parametrize("number", range(30))
@pytest.mark.parametrize("free_nusd", [100, 400, 1000])
def test_propensities_walked_through_are_those_of_the_product(number: int, free_nusd: int) -> None:
    decision = drawn((free_nusd, free_nusd), request_id=f"q{number}")
    expected = exact_propensities(decision, free_nusd=free_nusd)
    assert check_decision(decision, free_nusd=free_nusd) == pytest.approx(expected, abs=1e-12)


def redrawn() -> Decision:
    """A decision whose first arm did not fit."""
    return next(d for d in (drawn((400, 400), request_id=f"q{i}") for i in range(99)) if len(d.rounds) == 2)


def wrong_decisions() -> dict[str, Decision]:
    good = redrawn()
    first, second = good.rounds
    other = next(arm for arm in second.arms if arm != good.chosen)
    perturbed = Round(first.arms, tuple(p + d for p, d in zip(first.probabilities, (1e-6, -1e-6, 0), strict=True)))
    return {
        "another arm than drawn": replace(good, chosen=other),
        "another seed": replace(good, seed=1, request_id="z"),
        "perturbed probabilities": replace(good, rounds=(perturbed, second)),
        "a round of its own": replace(good, rounds=(first, Round((good.chosen,), (1.0,)))),
        "an excluded arm": replace(
            good, quotes=make_quotes(good.quotes[0]._replace(excluded_because="disabled"), *good.quotes[1:])
        ),
    }


@pytest.mark.parametrize("name", wrong_decisions())
def test_a_decision_that_was_not_drawn_as_it_says_is_a_violation(name: str) -> None:
    with pytest.raises(Violation):
        check_decision(wrong_decisions()[name], free_nusd=400)


def test_a_decision_whose_hold_did_not_fit_is_a_violation() -> None:
    with pytest.raises(Violation, match="did not fit"):
        check_decision(drawn((10**6,)), free_nusd=0)


def entry(outcome: Outcome) -> Entry:
    decision = make_decision(quotes=(make_quote(hold_nusd=outcome.hold_nusd, expected_cost_nusd=50),))
    return Entry(decision, b"", outcome, b"", free_nusd=0, deadline_ms=0, keep_ms=0, covered_nusd=outcome.hold_nusd)


def test_an_account_is_the_sum_of_its_decisions() -> None:
    before = [make_outcome(100), make_outcome(200), make_outcome(300)]
    report = FeedbackRequest("acme", "d", usage=Usage(cost_nusd=230))
    billed, _ = after_feedback(before[1], report, make_decision())
    period = Period(1000, [entry(before[0]), entry(billed), entry(after_deadline(before[2]))])
    assert period.account() == Account(
        1000, spent_nusd=530, held_nusd=100, overrun_nusd=30, in_flight_nusd=50, decisions=3
    )


def test_edits_and_opening_windows_follow_the_accounts_rules() -> None:
    purse = Purse(500)
    edits = ((BudgetEditKind.GRANT, 7), (BudgetEditKind.SET_LIMIT, 80), (BudgetEditKind.RESET, 0))
    account = Account(500)
    for kind, amount_nusd in edits:
        account = account.edit(kind, amount_nusd)
        first = Level("acme", Window(0, 3_600_000, None, WindowKind.HOUR, 0))
        assert purse.edit(BudgetEdit("acme", kind, amount_nusd, "", "", 0), first) == account
    assert purse.view(Level("acme", HOUR)).limit_nusd == 80
    assert purse.view(Level("acme", HOUR, carry_over=True)).limit_nusd == 160
    assert purse.view(Level("acme", replace(HOUR, ordinal=3), carry_over=True)).limit_nusd == 320


def test_a_window_goes_on_under_another_rule_and_is_called_so_by_new_calls() -> None:
    purse = Purse(500)
    hour = Level("acme", Window(0, 3_600_000, None, WindowKind.HOUR, 0))
    whole = Level("acme", Window(0))
    period = purse.period(hour, 5)
    assert purse.period(whole, 4) is period
    assert period.window == hour.window
    assert purse.period(whole, 5) is period
    assert period.window == whole.window
    assert purse.period(Level("acme", HOUR), 3_600_000) is period
    assert [edit.reason for edit, _, _ in purse.trail] == [
        "hour:0 goes on as fixed:0",
        "fixed:0 goes on as hour:3600000",
    ]


def test_an_account_that_differs_from_the_books_is_a_violation() -> None:
    period = Period(500, [entry(make_outcome(100))])
    books = Books({"acme": Purse(500, periods={"w": period})})
    books.check_law("acme", "w", Account(500, held_nusd=100, in_flight_nusd=50, decisions=1), period)
    with pytest.raises(Violation, match="the books"):
        books.check_law("acme", "w", Account(500, held_nusd=99, in_flight_nusd=50, decisions=1), period)


def test_a_lease_belongs_to_one_learner_until_it_ends() -> None:
    leases = Leases()
    leases.acquired("pool", "a", 1000, token=1, now_ms=0)
    leases.acquired("pool", "b", 1000, token=None, now_ms=999)
    with pytest.raises(Violation):
        leases.acquired("pool", "b", 1000, token=2, now_ms=999)
    leases.acquired("pool", "b", 1000, token=2, now_ms=1000)
    leases.saved("pool", 2)
    with pytest.raises(Violation, match="superseded"):
        leases.saved("pool", 1)


def taught() -> tuple[Lessons, PoolState]:
    """Two decisions, one of them corrected, as the log has them and as the product folds them."""
    lessons, state = Lessons(), PoolState(dimension=2)
    reports = ((0, 0.25, False), (1, 1.0, False), (0, 0.75, True))
    latest: dict[int, Outcome] = {}
    for number, (who, reward, correct) in enumerate(reports):
        decision = make_decision((1.0, 0.5 + who), decision_id=f"d{who}")
        before = latest.get(who, make_outcome())
        request = FeedbackRequest("acme", f"d{who}", usage=Usage(output_tokens=9), reward=reward, correct=correct)
        latest[who], _ = after_feedback(before, request, decision)
        lessons.add("pool", 0, f"5-{number}", decision, latest[who])
        learn(state, decision, before, latest[who])
        state.positions[0] = f"5-{number}"
    return lessons, state


def test_what_the_learner_folds_is_the_batch_solution() -> None:
    lessons, state = taught()
    lessons.check("pool", state)
    lessons.check_complete("pool", state)


def test_what_was_learned_twice_or_never_is_a_violation() -> None:
    lessons, state = taught()
    state.arms["small"].reward.add(np.array([1.0, 0.5]), 0.75)
    with pytest.raises(Violation, match="observations"):
        lessons.check("pool", state)
    lessons, state = taught()
    state.arms["small"].reward.moment += 1e-6
    with pytest.raises(Violation, match="batch"):
        lessons.check("pool", state)
    lessons, state = taught()
    state.positions[0] = "5-1"
    with pytest.raises(Violation, match="folded"):
        lessons.check("pool", state)
