"""How pools and tenants name the members of the three families."""

from __future__ import annotations

import pytest

from bandit_router.core.budget_policies.registry import BUDGET_POLICIES, parse_budget_policy
from bandit_router.core.explorations.registry import EXPLORATIONS, Exploration, parse_exploration
from bandit_router.core.learners.registry import LEARNERS, parse_learner
from bandit_router.core.spec import SpecError
from tests.builders import generator

DEFAULTS = LEARNERS["linucb"].defaults


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_makes_sense_with_its_defaults(name: str) -> None:
    assert parse_learner(name).parameters == LEARNERS[name].defaults


@pytest.mark.parametrize("name", EXPLORATIONS)
def test_every_exploration_makes_sense_with_its_defaults(name: str) -> None:
    assert parse_exploration(name).name == name


@pytest.mark.parametrize("name", BUDGET_POLICIES)
def test_every_budget_policy_makes_sense_with_its_defaults(name: str) -> None:
    assert parse_budget_policy(name).solve_every >= 0


@pytest.mark.parametrize("text", ["", "best", "replan:every=0", "Replan"])
def test_a_budget_policy_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_budget_policy(text)


def test_a_floor_is_the_part_of_the_choices_that_is_uniform() -> None:
    scores = generator(3).normal(size=(5, 4))
    bare, mixed = (Exploration("igw", 50.0, floor).weigh(scores, scores, lambda _: scores) for floor in (0.0, 0.2))
    assert mixed == pytest.approx(0.8 * bare + 0.2 / 4)
    assert mixed.min() >= 0.05


@pytest.mark.parametrize(
    "text", ["linucb:ridge=0", "linucb:bias=0", "linucb:ridge=-1", "linucb:alpha=-0.1", "linucb:bias=-2"]
)
def test_a_learner_whose_prior_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_learner(text)


def test_a_learner_is_read_with_its_defaults() -> None:
    assert parse_learner("linucb:alpha=0").parameters == {**DEFAULTS, "alpha": 0.0}


def test_an_exploration_is_read_with_its_default_scale() -> None:
    assert parse_exploration("igw") == Exploration("igw", 10_000.0)
    assert parse_exploration("igw:tau=20") == Exploration("igw", 20.0)


@pytest.mark.parametrize("text", ["", "greatest", "igw:tau=0", "igw:tau=-1", "igw:tau=nan", "igw:temperature=1"])
def test_an_exploration_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_exploration(text)
