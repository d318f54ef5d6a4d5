from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.arm_state import ArmState
from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import Bill, Billing, Feedback, Outcome, OutcomeKind, apply_feedback, expire
from bandit_router.core.pool_state import MismatchedContext, PoolState, learn, log_output_tokens
from tests.builders import (
    PROPERTY,
    feedbacks,
    generator,
    make_decision,
    make_outcome,
    make_prices,
    make_quote,
    make_quotes,
)

DIMENSION = 3
ARMS = ("a", "b")
Event = tuple[Decision, Outcome, Outcome]
histories = st.lists(st.tuples(st.integers(0, 1), st.lists(feedbacks, max_size=3), st.booleans()), max_size=6)


def decision_of(index: int, arm: int) -> Decision:
    source = generator(index)
    quotes = tuple(make_quote(arm_id) for arm_id in ARMS)
    return make_decision((1.0, *source.normal(size=DIMENSION - 1)), chosen=arm, quotes=quotes)


def life_of(path: list[Feedback], *, expires: bool) -> list[Outcome]:
    """The outcomes that one decision goes through, its fresh one first."""
    outcomes = [make_outcome()]
    if expires:
        outcomes.append(expire(outcomes[0]).outcome)
    for feedback in path:
        transition = apply_feedback(outcomes[-1], feedback)
        if transition.changed:
            outcomes.append(transition.outcome)
    return outcomes


def events_of(history: list[tuple[int, list[Feedback], bool]]) -> list[list[Event]]:
    """Per decision, its events in order."""
    lives = []
    for index, (arm, path, expires) in enumerate(history):
        decision, outcomes = decision_of(index, arm), life_of(path, expires=expires)
        lives.append([(decision, before, after) for before, after in pairwise(outcomes)])
    return lives


def folded(events: list[Event]) -> PoolState:
    state = PoolState(DIMENSION)
    for event in events:
        learn(state, *event)
    return state


def only_final(lives: list[list[Event]]) -> PoolState:
    """The batch solution: each decision's last outcome, learned once."""
    return folded([(life[0][0], life[0][1], life[-1][2]) for life in lives if life])


def assert_same_knowledge(one: PoolState, other: PoolState) -> None:
    for arm_id in ARMS:
        mine, theirs = (s.arms.get(arm_id, ArmState.empty(DIMENSION)) for s in (one, other))
        assert mine.settled == theirs.settled
        for sums, expected in ((mine.reward, theirs.reward), (mine.tokens, theirs.tokens)):
            assert sums.count == expected.count
            assert sums.gram == pytest.approx(expected.gram, abs=1e-9)
            assert sums.moment == pytest.approx(expected.moment, abs=1e-9)
            assert sums.square == pytest.approx(expected.square, abs=1e-9)


@PROPERTY
@given(histories)
def test_corrections_and_retractions_leave_the_state_as_if_only_the_last_values_had_come(
    history: list[tuple[int, list[Feedback], bool]],
) -> None:
    lives = events_of(history)
    assert_same_knowledge(folded([event for life in lives for event in life]), only_final(lives))


@PROPERTY
@given(histories, st.randoms(use_true_random=False))
def test_decisions_may_be_folded_in_any_interleaving(
    history: list[tuple[int, list[Feedback], bool]], shuffler: object
) -> None:
    lives = events_of(history)
    turns = [index for index, life in enumerate(lives) for _ in life]
    shuffler.shuffle(turns)  # type: ignore[attr-defined]
    queues = [iter(life) for life in lives]
    assert_same_knowledge(folded([next(queues[turn]) for turn in turns]), only_final(lives))


@PROPERTY
@given(histories, st.integers(1, 5))
def test_folding_in_batches_on_copies_is_folding_at_once(
    history: list[tuple[int, list[Feedback], bool]], size: int
) -> None:
    events = [event for life in events_of(history) for event in life]
    state = PoolState(DIMENSION)
    for first in range(0, len(events), size):
        state = state.copy()
        for event in events[first : first + size]:
            learn(state, *event)
    assert_same_knowledge(state, folded(events))
    assert state.events == len(events)


@PROPERTY
@given(histories)
def test_settled_counts_the_decisions_whose_hold_has_ended(history: list[tuple[int, list[Feedback], bool]]) -> None:
    lives = events_of(history)
    state = folded([event for life in lives for event in life])
    ended = sum(bool(life) and life[-1][2].billing is not Billing.HELD for life in lives)
    assert sum(arm.settled for arm in state.arms.values()) == ended


def test_folding_into_a_copy_leaves_the_original_as_it_is() -> None:
    rewarded = (decision_of(0, 0), make_outcome(), make_outcome(reward=0.5))
    original, same = folded([rewarded]), folded([rewarded])
    original.positions[3] = "5-0"
    changed = original.copy()
    learn(changed, *rewarded)
    learn(changed, decision_of(1, 1), make_outcome(), make_outcome(reward=0.5))
    changed.positions[3] = "6-0"
    changed.version = 9
    assert_same_knowledge(original, same)
    assert (original.positions, original.version, original.events, set(original.arms)) == ({3: "5-0"}, 0, 1, {"a"})


@pytest.mark.parametrize("stranger", [make_decision((1.0, 2.0)), make_decision((1.0, 2.0, 3.0), projection_version=1)])
def test_an_event_of_another_context_is_refused_and_the_state_untouched(stranger: Decision) -> None:
    state = folded([(decision_of(0, 0), make_outcome(), make_outcome(reward=0.5))])
    before = state.copy()
    with pytest.raises(MismatchedContext):
        learn(
            state,
            replace(stranger, quotes=make_quotes(make_quote("stranger"))),
            make_outcome(),
            make_outcome(reward=1.0),
        )
    assert_same_knowledge(state, before)
    assert (state.events, set(state.arms)) == (1, {"a"})


def test_a_reward_is_learned_at_the_stored_context() -> None:
    decision = decision_of(4, 1)
    state = folded([(decision, make_outcome(), make_outcome(reward=0.25))])
    x = np.array(decision.context)
    assert (state.arms["b"].reward.gram == np.outer(x, x)).all()
    assert (state.arms["b"].reward.moment == 0.25 * x).all()
    assert state.arms["b"].tokens.count == 0


def billed(bill: Bill, kind: OutcomeKind = OutcomeKind.UNSPECIFIED) -> Outcome:
    return make_outcome(billing=Billing.BILLED, bill=bill, cost_nusd=bill.cost_nusd, kind=kind)


def test_output_tokens_are_learned_as_their_logarithm() -> None:
    assert log_output_tokens(make_decision(), billed(Bill(5, 10, 400))) == pytest.approx(math.log(400))


def test_an_empty_answer_counts_as_one_token() -> None:
    assert log_output_tokens(make_decision(), billed(Bill(5, 10, 0))) == 0.0


def test_tokens_are_worked_out_of_a_bill_in_money_alone() -> None:
    decision = make_decision(prices=make_prices(1, 2), prompt_tokens=100)
    cost_nusd = decision.prices.cost_nusd(input_tokens=100, output_tokens=250)
    assert log_output_tokens(decision, billed(Bill(cost_nusd))) == pytest.approx(math.log(250))


def test_tokens_worked_out_of_money_allow_for_the_cached_part_of_the_prompt() -> None:
    decision = make_decision(prices=make_prices(1, 2, 0.1), prompt_tokens=100, cached_tokens=60)
    cost_nusd = decision.prices.cost_nusd(input_tokens=100, output_tokens=250, cached_input_tokens=60)
    assert log_output_tokens(decision, billed(Bill(cost_nusd))) == pytest.approx(math.log(250))


def test_a_bill_in_money_says_nothing_where_output_is_free() -> None:
    assert log_output_tokens(make_decision(prices=make_prices(1, 0)), billed(Bill(5))) is None


@pytest.mark.parametrize(
    "outcome",
    [
        make_outcome(),
        make_outcome(billing=Billing.EXPIRED, cost_nusd=100),
        make_outcome(billing=Billing.CANCELLED),
        billed(Bill(5, 10, 400), OutcomeKind.FAILED),
        billed(Bill(5, 10, 400), OutcomeKind.CANCELLED),
    ],
)
def test_a_call_that_did_not_end_well_says_nothing_about_lengths(outcome: Outcome) -> None:
    assert log_output_tokens(make_decision(), outcome) is None


def test_a_silent_change_is_followed_also_after_most_rewards_have_been_retracted() -> None:
    """What a tenant taught is taken back: the rewards that come next are the latest ones all the same."""
    state, held = PoolState(DIMENSION), make_outcome()
    good, bad = (replace(held, billing=Billing.BILLED, bill=Bill(50, 100, 120), reward=reward) for reward in (0.9, 0.1))
    unrated = replace(good, reward=None)
    decisions = []
    for index in range(1500):
        decisions.append(replace(decision_of(index % 50, 0), learned_rewards=state.rewards))
        learn(state, decisions[-1], held, good)
    for decision in decisions[:1450]:
        learn(state, decision, good, unrated)
    for index in range(60):
        learn(state, replace(decision_of(index, 0), learned_rewards=state.rewards), held, bad)
    found = state.recency.arms["a"].changed(np.array([0.9, 0.0, 0.0]), noise_sd=0.2, threshold=3.0)
    assert found is not None
    assert found[0] < 0.6
