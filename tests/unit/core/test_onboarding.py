from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.bills import BillSums
from bandit_router.core.budget_policies.protocol import LinearCharge
from bandit_router.core.choice import quote_arms
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.onboarding import are_new, lifted
from bandit_router.core.pool_state import PoolState
from bandit_router.core.quotes import ArmQuote
from bandit_router.core.resources import Arm, HoldPolicy
from tests.builders import LARGE, MEDIUM, SMALL, make_query

TRIED = replace(LARGE, onboarding_nusd=1000)


def quotes_of(*arms: Arm, spent_nusd: int = 0, learner: str = "linucb", **query: object) -> dict[str, ArmQuote]:
    state = PoolState(4, bills={arm.arm_id: BillSums(spent_nusd=spent_nusd) for arm in arms})
    model = build_model(state, [arm.arm_id for arm in arms], parse_learner(learner))
    table = ArmTable.of(model, arms)
    quotes = quote_arms(table, make_query(**query), charge=LinearCharge(100.0), hold_policy=HoldPolicy.WORST_CASE)
    return {quote.arm_id: quote for quote in quotes}


def test_an_arm_is_new_until_its_quota_is_spent() -> None:
    arms = [replace(SMALL, onboarding_nusd=quota) for quota in (0, 10, 10, 10)]
    assert are_new(arms, [0, 9, 10, 11]).tolist() == [False, True, False, False]


def test_new_arms_are_lifted_to_the_best_of_their_row_and_no_other_is_touched() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.7, -math.inf]])
    assert lifted(scores, np.array([False, True, True])).tolist() == [[0.9, 0.9, 0.9], [0.2, 0.7, 0.7]]
    assert lifted(scores, np.zeros(3, dtype=bool)) is scores
    assert scores[0, 1] == 0.1


def test_a_new_arm_scores_as_the_best_one_however_dear_it_is() -> None:
    plain, tried = quotes_of(SMALL, MEDIUM, LARGE), quotes_of(SMALL, MEDIUM, TRIED)
    assert plain["large"].score < plain["small"].score == tried["large"].score
    assert [tried[name].score for name in ("small", "medium")] == [plain[name].score for name in ("small", "medium")]
    assert tried["large"].expected_reward == plain["large"].expected_reward


def test_a_quota_that_is_spent_changes_nothing() -> None:
    assert quotes_of(SMALL, TRIED, spent_nusd=1000) == quotes_of(SMALL, LARGE, spent_nusd=1000)
    assert quotes_of(SMALL, TRIED, spent_nusd=999) != quotes_of(SMALL, LARGE, spent_nusd=999)


def test_an_arm_that_may_not_be_chosen_lifts_nobody() -> None:
    found = quotes_of(replace(SMALL, enabled=False), MEDIUM, TRIED)
    assert found["large"].score == found["medium"].score < found["small"].score


def test_a_new_arm_that_may_not_be_chosen_is_not_lifted() -> None:
    found = quotes_of(SMALL, TRIED, allowed_arm_ids=frozenset(["small"]))
    assert found["large"].score < found["small"].score
    assert found["large"].excluded_because == "not_allowed"


@pytest.mark.parametrize("spent_nusd", [0, 1000])
def test_fixed_shares_stay_fixed(spent_nusd: int) -> None:
    found = quotes_of(SMALL, TRIED, spent_nusd=spent_nusd, learner="static:small=3,large=1")
    assert found["small"].score == 3 * found["large"].score
