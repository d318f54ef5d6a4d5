from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.budget_policies.protocol import LinearCharge, PriceMark
from bandit_router.core.budget_policies.registry import parse_budget_policy


def test_without_a_budget_policy_money_takes_nothing_off_a_score() -> None:
    rewards, costs_nusd = np.array([0.2, 0.9]), np.array([10, 10**9])
    policy = parse_budget_policy("none")
    assert policy.solve_every == 0
    assert (policy.charge(PriceMark(0.0, 5, 1)).scores(rewards, costs_nusd) == rewards).all()


def test_a_linear_charge_is_the_price_times_the_dollars() -> None:
    scores = LinearCharge(3.0).scores(np.array([0.5, 0.5]), np.array([0, 10**8]))
    assert scores == pytest.approx([0.5, 0.2])
