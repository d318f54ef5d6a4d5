from __future__ import annotations

from dataclasses import replace

import pytest

from bandit_router.core.codec import encode_decision, encode_outcome
from bandit_router.core.decision import Decision
from bandit_router.core.folding import Outdated, Unlearnable, coordinates_of, fold
from bandit_router.core.pool_codec import encode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from tests.builders import make_decision, make_outcome

BEFORE, AFTER = make_outcome(), make_outcome(reward=0.5)
PACKED = encode_outcome(BEFORE), encode_outcome(AFTER)


def test_folding_bytes_is_learning_what_they_say() -> None:
    folded, learned = PoolState(2), PoolState(2)
    fold(folded, encode_decision(make_decision()), *PACKED)
    learn(learned, make_decision(), BEFORE, AFTER)
    assert encode_pool_state(folded) == encode_pool_state(learned)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[]", b"null", b'{"id": 1}', encode_outcome(AFTER)])
def test_what_cannot_be_read_is_unlearnable_and_leaves_the_state_alone(data: bytes) -> None:
    state = PoolState(2)
    for parts in [(data, *PACKED), (encode_decision(make_decision()), data, data)]:
        if data == encode_outcome(AFTER) and parts[0] != data:
            continue
        with pytest.raises(Unlearnable, match="cannot be read"):
            fold(state, *parts)
    assert encode_pool_state(state) == encode_pool_state(PoolState(2))
    assert coordinates_of(data) == 0


@pytest.mark.parametrize(
    ("decision", "is_outdated"),
    [
        (make_decision((1.0, 2.0, 3.0), projection_version=5), False),
        (make_decision(projection_version=6), False),
        (make_decision(projection_version=4), True),
    ],
)
def test_only_coordinates_that_were_left_behind_are_outdated(decision: Decision, is_outdated: bool) -> None:
    state = PoolState(2, projection_version=5)
    with pytest.raises(Unlearnable) as caught:
        fold(state, encode_decision(decision), *PACKED)
    assert isinstance(caught.value, Outdated) == is_outdated
    assert coordinates_of(encode_decision(decision)) == decision.projection_version


def test_a_good_event_after_a_bad_one_is_folded_as_if_there_had_been_none() -> None:
    state, alone = PoolState(2), PoolState(2)
    with pytest.raises(Unlearnable):
        fold(state, encode_decision(replace(make_decision(), context=(1.0,))), *PACKED)
    for target in (state, alone):
        fold(target, encode_decision(make_decision()), *PACKED)
    assert encode_pool_state(state) == encode_pool_state(alone)
