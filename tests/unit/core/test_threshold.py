from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.budget_policies.protocol import PriceMark, Reservoir, Standing
from bandit_router.core.budget_policies.registry import parse_budget_policy
from bandit_router.core.budget_policies.threshold import ThresholdCharge
from bandit_router.core.spec import SpecError

START = PriceMark(0.0, 0, -1)
POLICY = parse_budget_policy("threshold:bin=100")


def reservoir() -> Reservoir:
    """Reward per dollar from 10 to 1000."""
    rewards, costs = np.array([[0.5, 1.0]]), np.array([[0.0005, 0.1]])
    return Reservoir(rewards, costs, rewards, np.zeros_like(rewards))


def standing(committed_nusd: int, decisions: int, *, limit_nusd: int = 10**9, version: int = 1) -> Standing:
    """1,000 calls in all, so a bin has a tenth of the limit."""
    return Standing(limit_nusd, committed_nusd, decisions, 1000.0 - decisions, version, reservoir, lambda s, _: s)


def test_the_threshold_rises_with_the_share_of_the_bins_money_that_is_gone() -> None:
    low, high = 10.0, 1000.0
    mark = POLICY.solve(START, standing(0, 0))
    assert mark.price_per_usd == pytest.approx(low / math.e)
    for share in (0.25, 0.5, 1.0, 3.0):
        found = POLICY.solve(mark, standing(int(share * 10**8), 50)).price_per_usd
        assert found == pytest.approx((high * math.e / low) ** min(1.0, share) * low / math.e)


def test_what_a_bin_leaves_over_spills_into_the_next() -> None:
    mark = POLICY.solve(START, standing(0, 0))
    mark = POLICY.solve(mark, standing(4 * 10**7, 100))
    thrifty = POLICY.solve(mark, standing(4 * 10**7 + 8 * 10**7, 150)).price_per_usd
    assert thrifty == pytest.approx((1000 * math.e / 10) ** 0.5 * 10 / math.e)


def test_a_bin_whose_money_is_gone_already_has_the_highest_threshold() -> None:
    mark = POLICY.solve(START, standing(0, 0))
    assert POLICY.solve(mark, standing(3 * 10**8, 100)).price_per_usd == pytest.approx(1000.0)


def test_the_bounds_are_looked_up_again_with_a_new_snapshot_only() -> None:
    mark = POLICY.solve(START, standing(0, 0))
    looked: list[int] = []

    def watched() -> Reservoir:
        looked.append(1)
        return reservoir()

    POLICY.solve(mark, replace(standing(0, 1), reservoir=watched))
    assert not looked
    POLICY.solve(mark, replace(standing(0, 1, version=2), reservoir=watched))
    assert looked


def test_of_the_arms_worth_their_money_the_best_comes_first_and_then_the_nearly_worth() -> None:
    rewards = np.array([0.5, 0.9, 0.95, 0.99])
    costs_nusd = np.array([10**6, 3 * 10**6, 2 * 10**7, 10**8])
    scores = ThresholdCharge(200.0).scores(rewards, costs_nusd)
    assert scores[:2] == [0.5, 0.9]
    assert scores[0] > scores[2] + 9 > scores[3] + 9


def test_a_call_that_costs_nothing_is_always_worth_it() -> None:
    assert ThresholdCharge(1e6).scores(np.array([0.1]), np.array([0])) == [0.1]


@pytest.mark.parametrize("text", ["threshold:bin=0", "threshold:bin=2.5", "threshold:bins=3"])
def test_a_threshold_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_budget_policy(text)
