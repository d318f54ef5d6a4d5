from __future__ import annotations

import operator
from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.bills import BillSums
from bandit_router.core.budget_policies.protocol import LinearCharge
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.resources import Arm
from tests.builders import LARGE, MEDIUM, SMALL

ARMS = (SMALL, replace(MEDIUM, draining=True), replace(LARGE, onboarding_nusd=1000), replace(LARGE, enabled=False))
COSTS_NUSD = [10**5, 10**6, 10**7, 10**7]


def table_of(*arms: Arm, spent_nusd: int = 0, learner: str = "linucb") -> ArmTable:
    named = [replace(arm, arm_id=f"arm{index}") for index, arm in enumerate(arms)]
    state = PoolState(4, bills={arm.arm_id: BillSums(spent_nusd=spent_nusd) for arm in named})
    return ArmTable.of(build_model(state, [arm.arm_id for arm in named], parse_learner(learner)), named)


def scores_of(table: ArmTable) -> list[float]:
    return table.scores(
        [0.5, 0.6, 0.7, 0.8],
        COSTS_NUSD,
        charge=LinearCharge(10.0),
        excluded=table.unavailable,
    )


def test_the_table_says_which_arms_are_to_be_had_and_which_are_new() -> None:
    table = table_of(*ARMS)
    assert table.live == (0, 2)
    assert table.unavailable == ("", "draining", "", "disabled")
    assert table.new.tolist() == [False, False, True, False]
    assert table.has_new
    assert not table_of(*ARMS, spent_nusd=1000).has_new


def test_prices_for_money_and_for_formulas_are_the_same() -> None:
    table = table_of(*ARMS)
    columns = table.columns
    assert table.input_usd == pytest.approx(np.array(columns.input_prices) / 1e15)
    assert table.output_usd == pytest.approx(np.array(columns.output_prices) / 1e15)
    assert all(map(operator.ge, columns.dearest_input_prices, columns.input_prices))


def test_scores_are_rewards_less_the_charge() -> None:
    assert scores_of(table_of(*ARMS, spent_nusd=1000)) == pytest.approx([0.499, 0.59, 0.6, 0.7])


def test_a_new_arm_scores_as_the_best_of_those_to_be_had() -> None:
    tried, untried = (scores_of(table_of(*ARMS, spent_nusd=spent)) for spent in (1000, 0))
    cheap = [replace(arm, onboarding_nusd=0) for arm in ARMS]
    assert untried[2] == max(tried[0], tried[2])
    assert [untried[0], untried[1], untried[3]] == [tried[0], tried[1], tried[3]]
    assert scores_of(table_of(*cheap)) == tried


def test_the_scores_of_fixed_shares_are_the_shares() -> None:
    table = table_of(*ARMS, learner="static:arm0=0.7,arm2=0.3")
    assert scores_of(table) == [0.7, 0.0, 0.3, 0.0]
