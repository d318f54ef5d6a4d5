from __future__ import annotations

import pytest

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import LinearCharge
from bandit_router.core.choice import quote_arms, weigh_round
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.resources import HoldPolicy
from bandit_router.core.spec import SpecError
from tests.builders import LARGE, MEDIUM, SMALL, make_query

ARMS = (SMALL, MEDIUM, LARGE)


def probabilities(text: str, arms: tuple[int, ...] = (0, 1, 2)) -> list[float]:
    model = build_model(PoolState(4), [arm.arm_id for arm in ARMS], parse_learner(text))
    quotes = quote_arms(
        ArmTable.of(model, ARMS), make_query(), charge=LinearCharge(1e6), hold_policy=HoldPolicy.WORST_CASE
    )
    layer = model.exploration(parse_exploration("igw"))
    return list(weigh_round(quotes, arms, layer, seed=0, key="").probabilities)


def test_a_named_arm_is_always_chosen_whatever_money_costs() -> None:
    assert probabilities("static:large") == [0.0, 0.0, 1.0]


def test_a_mix_has_its_shares_and_they_are_relative() -> None:
    assert probabilities("static:small=3,large=1") == pytest.approx([0.75, 0.0, 0.25])


def test_without_names_all_arms_are_alike() -> None:
    assert probabilities("static") == pytest.approx([1 / 3] * 3)


def test_shares_are_taken_over_the_arms_that_may_be_chosen() -> None:
    assert probabilities("static:small=0.5,large=0.5", (1, 2)) == [0.0, 1.0]
    assert probabilities("static:small", (1, 2)) == [0.5, 0.5]


def test_arm_ids_may_contain_what_separates_a_name_from_its_parameters() -> None:
    assert parse_learner("static:org/m:7b=0.25,x").parameters == {"org/m:7b": 0.25, "x": 1.0}


@pytest.mark.parametrize("text", ["static:a=0", "static:a=-1", "static:a=nan", "static:a,a", "static:=1", "static:a=x"])
def test_a_mix_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_learner(text)
