"""What every budget policy owes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.budget_policies.protocol import PriceMark, Reservoir, Standing
from bandit_router.core.budget_policies.registry import BUDGET_POLICIES, parse_budget_policy
from bandit_router.core.explorations.igw import inverse_gap_weights
from bandit_router.core.regression import FloatArray
from tests.builders import PROPERTY, generator

SPECS = [
    *BUDGET_POLICIES,
    "threshold:bin=7",
    "primal_dual:step=0.5,smoothing=0.5",
    "primal_dual:mirror=0",
    "primal_dual:mirror=0,log=1",
    "primal_dual:mirror=1,log=1",
]
EVERY_POLICY = pytest.mark.parametrize("spec", SPECS)
START = PriceMark(0.0, 0, -1)
LIMIT_NUSD = 10**9
CALLS = 500


def reservoir_of(arms: int, seed: int = 1) -> Reservoir:
    source = generator(seed)
    costs = np.geomspace(1e-5, 1e-2, arms) * source.uniform(0.5, 2.0, size=(32, arms))
    rewards = np.linspace(0.5, 0.9, arms) + 0.1 * source.normal(size=(32, arms))
    return Reservoir(rewards, costs, rewards, np.zeros_like(rewards))


def weigh(scores: FloatArray, _deviations: FloatArray) -> FloatArray:
    return inverse_gap_weights(scores, 1500.0)


def standing(
    committed_nusd: int, decisions: int, *, limit_nusd: int = LIMIT_NUSD, arms: int = 3, version: int = 1
) -> Standing:
    left = max(1.0, float(CALLS - decisions))
    return Standing(limit_nusd, committed_nusd, decisions, left, version, lambda: reservoir_of(arms), weigh)


def lived(spec: str, spent_shares: list[float], *, limit_nusd: int = LIMIT_NUSD) -> list[PriceMark]:
    """The marks of a window whose calls cost these multiples of what each may."""
    policy, committed, mark = parse_budget_policy(spec), 0.0, START
    marks = []
    for number, share in enumerate([0.0, *spent_shares]):
        committed += share * limit_nusd / CALLS
        mark = policy.solve(mark, standing(round(committed), number, limit_nusd=limit_nusd, version=1 + number // 9))
        marks.append(mark)
    return marks


def test_every_budget_policy_takes_part() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == set(BUDGET_POLICIES)


calls = st.lists(st.floats(0, 20), max_size=30)


@EVERY_POLICY
@PROPERTY
@given(calls, st.sampled_from([0, 1, 10**6, LIMIT_NUSD]))
def test_prices_are_finite_and_not_negative_whatever_is_spent(spec: str, spent: list[float], limit_nusd: int) -> None:
    for number, mark in enumerate(lived(spec, spent, limit_nusd=limit_nusd)):
        assert math.isfinite(mark.price_per_usd)
        assert mark.price_per_usd >= 0.0
        assert (mark.decisions, mark.snapshot_version) == (number, 1 + number // 9)
        assert all(math.isfinite(value) for value in mark.memory)


@EVERY_POLICY
@PROPERTY
@given(calls)
def test_a_policy_is_a_function_of_its_last_mark_and_the_account(spec: str, spent: list[float]) -> None:
    """Read back from a store, where numbers are text, the mark leads to the same next one."""
    marks, policy = lived(spec, spent), parse_budget_policy(spec)
    last = marks[-1]
    restored = PriceMark(
        float(repr(last.price_per_usd)),
        last.decisions,
        last.snapshot_version,
        tuple(float(repr(value)) for value in last.memory),
    )
    later = standing(LIMIT_NUSD // 3, last.decisions + 1, version=last.snapshot_version)
    assert policy.solve(restored, later) == policy.solve(last, later)
    assert lived(spec, spent) == marks


@EVERY_POLICY
@pytest.mark.parametrize("earlier", SPECS)
def test_a_window_goes_on_under_another_policy(earlier: str, spec: str) -> None:
    policy, left = parse_budget_policy(spec), lived(earlier, [1.0] * 25)[-1]
    now = standing(round(26 * LIMIT_NUSD / CALLS), 26, version=left.snapshot_version)
    for mark in (left, policy.solve(left, now)):
        scores = policy.charge(mark).scores(np.array([0.5, 0.6]), np.array([10**4, 10**6]))
        assert np.isfinite([mark.price_per_usd, *scores]).all()


@EVERY_POLICY
def test_what_was_spent_under_another_policy_is_not_taken_for_the_last_calls(spec: str) -> None:
    spending, family = standing(round(26 * LIMIT_NUSD / CALLS), 26), spec.partition(":")[0]
    for earlier in (each for each in SPECS if each.partition(":")[0] != family):
        taken_over = parse_budget_policy(spec).solve(lived(earlier, [1.0] * 25)[-1], spending)
        afresh = parse_budget_policy(spec).solve(replace(START, decisions=26), spending)
        assert replace(taken_over, memory=()) == replace(afresh, memory=())


@EVERY_POLICY
def test_a_dearer_arm_of_the_same_reward_never_scores_higher(spec: str) -> None:
    policy = parse_budget_policy(spec)
    rewards, costs_nusd = np.full(6, 0.7), np.array([0, 1, 10**4, 10**6, 10**8, 10**10])
    for mark in (*lived(spec, [3.0] * 25), START):
        scores = policy.charge(mark).scores(rewards, costs_nusd)
        assert np.isfinite(scores).all()
        assert (np.diff(scores) <= 1e-12).all()
        assert scores[0] == pytest.approx(0.7)
    assert (rewards == 0.7).all()
    assert costs_nusd[-1] == 10**10


@EVERY_POLICY
def test_a_better_arm_of_the_same_cost_never_scores_lower(spec: str) -> None:
    policy = parse_budget_policy(spec)
    rewards, costs_nusd = np.linspace(0.0, 1.0, 9), np.full(9, 10**6)
    for mark in lived(spec, [3.0] * 25):
        assert (np.diff(policy.charge(mark).scores(rewards, costs_nusd)) >= 0.0).all()


@EVERY_POLICY
@PROPERTY
@given(calls, st.floats(0, 1), st.floats(1, 5))
def test_more_money_gone_never_makes_money_cheaper(spec: str, spent: list[float], share: float, factor: float) -> None:
    policy, last = parse_budget_policy(spec), lived(spec, spent)[-1]
    now = standing(round(share * LIMIT_NUSD), last.decisions + 1, version=last.snapshot_version)
    more = replace(now, committed_nusd=round(factor * share * LIMIT_NUSD))
    thrifty = policy.solve(last, more).price_per_usd
    assert thrifty >= policy.solve(last, now).price_per_usd * (1 - 1e-12)


@EVERY_POLICY
def test_one_arm_alone_can_be_priced(spec: str) -> None:
    policy = parse_budget_policy(spec)
    mark = policy.solve(START, standing(0, 0, arms=1))
    assert math.isfinite(mark.price_per_usd)
    assert np.isfinite(policy.charge(mark).scores(np.array([0.5]), np.array([10**5]))).all()


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != "none"])
def test_overspending_is_answered_and_thrift_is_rewarded(spec: str) -> None:
    """By what counts: the dear arm's score against the cheap one's."""

    def advantage(mark: PriceMark) -> float:
        scores = parse_budget_policy(spec).charge(mark).scores(np.array([0.6, 0.7]), np.array([2 * 10**4, 10**7]))
        return float(scores[1] - scores[0])

    over, under = lived(spec, [4.0] * 45)[-1], lived(spec, [0.1] * 45)[-1]
    assert advantage(over) < advantage(under)
