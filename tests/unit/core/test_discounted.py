"""Discounted sums: independent of order, exactly undone, and sound where they begin in the middle of a pool's life."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.discounted import ArmDiscounted, Discounted
from bandit_router.core.outcomes import Outcome
from bandit_router.core.pool_state import PoolState, learn
from tests.builders import PROPERTY, generator, make_decision, make_outcome, make_quote

GAMMA = 0.9
D = 2

Told = tuple[str, int, float]
"""Arm, logical time of the decision, reward."""

TOLD = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 60), st.floats(0.0, 1.0))
OUTCOMES = st.lists(TOLD, min_size=1, max_size=15)


def context(learned: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0, np.sin(learned)])


def folded(outcomes: list[Told], begun: Discounted | None = None) -> Discounted:
    sums = Discounted(GAMMA) if begun is None else begun.copy()
    for arm_id, learned, reward in outcomes:
        sums.replace(arm_id, context(learned), learned=learned, old=None, new=reward)
    return sums


def assert_same(one: Discounted, other: Discounted) -> None:
    assert (one.gamma, one.clock, one.floor, one.past) == (other.gamma, other.clock, other.floor, other.past)
    for arm_id in one.arms.keys() | other.arms.keys():
        mine, theirs = (sums.arms.get(arm_id, ArmDiscounted.zeros(D)) for sums in (one, other))
        for name in ("gram", "moment", "square_gram", "weight"):
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name), abs=1e-9), name


@PROPERTY
@given(OUTCOMES)
def test_the_sums_are_those_that_the_paper_defines(outcomes: list[Told]) -> None:
    sums = folded(outcomes)
    now = max(learned for _, learned, _ in outcomes)
    for arm_id, arm in sums.arms.items():
        mine = [(GAMMA ** (now - at), context(at), y) for name, at, y in outcomes if name == arm_id]
        assert arm.gram == pytest.approx(sum(w * np.outer(x, x) for w, x, _ in mine))
        assert arm.moment == pytest.approx(sum(w * y * x for w, x, y in mine), abs=1e-12)
        assert arm.square_gram == pytest.approx(sum(w * w * np.outer(x, x) for w, x, _ in mine))
        assert arm.weight == pytest.approx(sum(w for w, _, _ in mine))


@PROPERTY
@given(OUTCOMES, st.integers(0, 10**6))
def test_the_order_of_outcomes_does_not_matter(outcomes: list[Told], seed: int) -> None:
    mixed = [outcomes[index] for index in generator(seed).permutation(len(outcomes))]
    assert_same(folded(outcomes), folded(mixed))


@PROPERTY
@given(OUTCOMES, TOLD, st.floats(0.0, 1.0))
def test_a_corrected_reward_leaves_no_trace(outcomes: list[Told], one: Told, wrong: float) -> None:
    arm_id, learned, reward = one
    corrected = folded([(arm_id, learned, wrong), *outcomes])
    corrected.replace(arm_id, context(learned), learned=learned, old=wrong, new=reward)
    assert_same(corrected, folded([one, *outcomes]))


@PROPERTY
@given(OUTCOMES, TOLD)
def test_a_retracted_reward_has_only_let_time_pass(outcomes: list[Told], one: Told) -> None:
    arm_id, learned, reward = one
    retracted = folded([one, *outcomes])
    retracted.replace(arm_id, context(learned), learned=learned, old=reward, new=None)
    never = folded(outcomes)
    never.replace(arm_id, context(learned), learned=learned, old=None, new=None)
    assert_same(retracted, never)


def told(state: PoolState, number: int, reward: float | None, **fields: object) -> None:
    """One more event about decision `number`, from what it was to `reward`."""
    before = fields.pop("before", None)
    decision = make_decision(
        (1.0, float(np.sin(number))),
        decision_id=f"d{number}",
        learned_rewards=number,
        decided_ms=number,
        quotes=(make_quote("ab"[number % 2]),),
        **{"tenant_id": "acme", "isolated": False, **fields},
    )
    assert before is None or isinstance(before, Outcome)
    learn(state, decision, before or make_outcome(), make_outcome(reward=reward))


def test_what_was_learned_before_counts_as_of_the_moment_when_the_sums_begin() -> None:
    state = PoolState(D)
    for number in range(6):
        told(state, number, 0.5)
    state.discount(1.0)
    for arm_id, arm in state.arms.items():
        assert state.discounted.arms[arm_id].gram == pytest.approx(arm.reward.gram)
        assert state.discounted.arms[arm_id].square_gram == pytest.approx(arm.reward.gram)
        assert state.discounted.arms[arm_id].moment == pytest.approx(arm.reward.moment)
    state.discount(0.5)
    weight = sum(arm.weight for arm in state.discounted.arms.values())
    assert weight == pytest.approx(1.0 / (1.0 - 0.5))
    assert (state.discounted.clock, state.discounted.floor) == (6, 6)


@pytest.mark.parametrize("isolated", [False, True])
def test_rewards_from_before_the_sums_began_are_corrected_and_retracted_exactly(isolated: bool) -> None:
    def state(first: float, second: float | None) -> PoolState:
        found = PoolState(D)
        rewards = [first, second, 0.5, 0.5, 0.5, 0.5, 0.5]
        for number, reward in enumerate(rewards):
            told(found, number, reward, isolated=isolated)
        return found

    late, early = state(1.0, 0.25), state(0.125, 0.25)
    for found in (late, early):
        found.discount(GAMMA)
        for number in range(7, 12):
            told(found, number, 0.75, isolated=isolated)
    told(late, 0, 0.125, before=make_outcome(reward=1.0), isolated=isolated)
    assert_same(sums_of(late, isolated=isolated), sums_of(early, isolated=isolated))
    told(late, 1, None, before=make_outcome(reward=0.25), isolated=isolated)
    told(late, 1, 0.25, before=make_outcome(reward=None), isolated=isolated)
    assert_same(sums_of(late, isolated=isolated), sums_of(early, isolated=isolated))


def sums_of(state: PoolState, *, isolated: bool) -> Discounted:
    return state.tenants.isolated.by_tenant["acme"].book.discounted if isolated else state.discounted


def test_a_pool_keeps_nothing_discounted_unless_it_is_asked_to() -> None:
    state = PoolState(D)
    told(state, 0, 0.5)
    assert state.discounted.arms == {}
    state.discount(GAMMA)
    state.discount(0.0)
    told(state, 1, 0.5)
    assert (state.discounted.gamma, state.discounted.arms) == (0.0, {})


def test_sums_at_the_same_rate_go_on_as_they_are() -> None:
    state = PoolState(D)
    state.discount(GAMMA)
    for number in range(9):
        told(state, number, 0.5)
    before = state.discounted.copy()
    state.discount(GAMMA)
    assert_same(state.discounted, before)


def test_the_sums_of_a_pool_are_those_of_its_tenants_together() -> None:
    state = PoolState(D)
    state.discount(GAMMA)
    for number in range(12):
        told(state, number, 0.5 + number / 30, tenant_id=f"t{number % 3}")
    total = Discounted(GAMMA, state.discounted.clock)
    for seat in state.tenants.seats:
        for arm_id, sums in seat.book.discounted.at(state.discounted.clock).arms.items():
            whole = total.arms.setdefault(arm_id, ArmDiscounted.zeros(D))
            whole.subtract(replace(sums, gram=-sums.gram, moment=-sums.moment, square_gram=-sums.square_gram))
            whole.weight += 2.0 * sums.weight
    assert_same(total, state.discounted)


def test_tenants_seen_in_a_pool_that_changes_its_rate_begin_with_it() -> None:
    state = PoolState(D)
    for number in range(12):
        told(state, number, 0.5, tenant_id=f"t{number % 3}")
    state.discount(GAMMA)
    told(state, 20, 0.5, tenant_id="late")
    for seat in state.tenants.seats:
        sums = seat.book.discounted
        assert (sums.gamma, sums.floor, sums.past) == (GAMMA, state.discounted.floor, state.discounted.past)
