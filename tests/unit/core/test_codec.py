from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.codec import (
    REMEMBERED_RECORDS,
    decode_decision,
    decode_outcome,
    encode_and_remember,
    encode_decision,
    encode_outcome,
    pack_floats,
    read_decision,
    unpack_floats,
)
from bandit_router.core.decision import Baseline, Decision, Reason, Round
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.outcomes import Outcome
from bandit_router.core.quotes import ArmQuote, Quotes
from tests.builders import FEW, PROPERTY, make_decision, make_outcome, make_quote, outcomes, prices

numbers = st.floats(allow_nan=False, allow_infinity=False)
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)
whole = st.integers(0, 2**62)
quotes = st.builds(
    ArmQuote, st.text(), numbers, numbers, numbers, whole, whole, numbers, st.sampled_from(["", "disabled"])
)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    rows = draw(st.lists(quotes, min_size=1, max_size=3))
    index = st.integers(0, len(rows) - 1)
    rounds = st.lists(st.lists(st.tuples(index, numbers), max_size=3), min_size=1, max_size=2)
    return Decision(
        *(draw(st.text(max_size=10)) for _ in range(4)),
        chosen=draw(index),
        quotes=Quotes.of(rows),
        rounds=tuple(Round(tuple(a for a, _ in r), tuple(p for _, p in r)) for r in draw(rounds)),
        context=tuple(draw(st.lists(singles, max_size=5))),
        prompt_tokens=draw(whole),
        cached_tokens=draw(whole),
        max_output_tokens=draw(whole),
        prices=draw(prices),
        price_per_usd=draw(numbers),
        snapshot_version=draw(whole),
        projection_version=draw(whole),
        policy_id=draw(st.text(max_size=10)),
        exploration=Exploration("igw", draw(numbers), draw(st.sampled_from([0.0, 0.05]))),
        reason=draw(st.sampled_from(Reason)),
        decided_ms=draw(whole),
        deadline_ms=draw(whole),
        window_start_ms=draw(whole),
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        shadow=draw(st.booleans()),
        learned_bills=draw(whole),
        baseline=draw(st.none() | st.builds(Baseline, index, numbers, numbers)),
        isolated=draw(st.none() | st.booleans()),
    )


@PROPERTY
@given(decisions())
def test_a_decision_is_read_back_as_it_was_written(decision: Decision) -> None:
    assert decode_decision(encode_decision(decision)) == decision


@PROPERTY
@given(outcomes)
def test_an_outcome_is_read_back_as_it_was_written(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


@FEW
@given(outcomes)
def test_equal_outcomes_have_equal_bytes(outcome: Outcome) -> None:
    assert encode_outcome(decode_outcome(encode_outcome(outcome))) == encode_outcome(outcome)


@PROPERTY
@given(decisions())
def test_a_decision_made_here_is_kept_and_is_what_its_bytes_say(decision: Decision) -> None:
    data = encode_and_remember(decision)
    assert decode_decision(data) is decision
    assert decode_decision(bytes(bytearray(data))) is decision
    assert read_decision(data) == decision


def test_no_more_decisions_are_kept_than_said() -> None:
    first = make_decision(decision_id="first")
    data = encode_and_remember(first)
    for number in range(REMEMBERED_RECORDS):
        encode_and_remember(make_decision(decision_id=f"d{number}"))
    assert decode_decision(data) is not first
    assert decode_decision(data) == first


@PROPERTY
@given(st.lists(singles, max_size=70))
def test_contexts_are_packed_bit_for_bit(values: list[float]) -> None:
    packed = pack_floats(tuple(values))
    assert unpack_floats(packed) == tuple(values)
    assert packed == np.array(values, dtype="<f4").tobytes()


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_never_stored(poison: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_decision(make_decision(quotes=(make_quote(score=poison),)))
    with pytest.raises(ValueError, match="JSON"):
        encode_decision(make_decision(price_per_usd=poison))
    with pytest.raises(ValueError, match="JSON"):
        encode_outcome(make_outcome(reward=poison))
    with pytest.raises(ValueError, match="JSON"):
        encode_outcome(make_outcome(metrics=(("m", poison),)))


def test_an_exploration_written_without_a_floor_is_read_as_having_none() -> None:
    decision = make_decision(exploration=Exploration("igw", 30.0))
    data = encode_decision(decision)
    assert b'"explore":["igw",30.0]' in data
    assert decode_decision(data).exploration == decision.exploration
