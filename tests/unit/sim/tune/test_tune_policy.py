"""Searching settings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import optuna
import pytest
import yaml

from bandit_router.core.explorations.registry import EXPLORATIONS, parse_exploration
from bandit_router.core.learners.registry import LEARNERS, parse_learner
from bandit_router_sim.compare.intervals import Interval
from bandit_router_sim.tune.config_file import as_config
from bandit_router_sim.tune.policy_search import Found, Plan, TooFewRows, search, splits_of
from bandit_router_sim.tune.search_space import (
    EXPLORATION_RANGES,
    LEARNER_RANGES,
    Choice,
    NothingToSearch,
    defaults_of,
    dimensions,
    suggested,
)
from tests.unit.sim.tune.tune_logs import world

PLAN = Plan(budgets_usd=(3e-4, 1e-3), seeds=1, trials=3, learner="linucb")


@cache
def found() -> Found:
    """What three trials find in a small log."""
    return search(world(300), PLAN)


def test_a_search_repeats_itself_and_its_settings_are_those_of_a_pool() -> None:
    first, second = found(), search(world(300), PLAN)
    assert first == second
    parse_learner(first.tuned.learner)
    parse_exploration(first.tuned.exploration)
    assert first.trials == PLAN.trials


def test_the_defaults_are_the_first_trial_so_the_best_is_no_worse_in_tuning() -> None:
    assert found().tuning_best >= found().tuning_default


def test_the_report_is_on_rows_that_the_search_has_not_seen() -> None:
    tuning, reporting, how = splits_of(world(300).log, seed=0)
    assert not set(tuning.tolist()) & set(reporting.tolist())
    assert len(tuning) + len(reporting) == 300
    assert how == "a seeded half"


def test_the_logs_own_splits_are_used_where_it_has_them() -> None:
    log = replace(world(300).log, splits=("val",) * 120 + ("test",) * 100 + ("",) * 80)
    tuning, reporting, how = splits_of(log, seed=0)
    np.testing.assert_array_equal(tuning, np.arange(120))
    np.testing.assert_array_equal(reporting, np.arange(120, 220))
    assert how == "the log's own splits"


def test_a_split_that_is_too_small_is_refused() -> None:
    log = replace(world(300).log, splits=("val",) * 290 + ("test",) * 10)
    with pytest.raises(TooFewRows, match="290 and 10 rows"):
        splits_of(log, seed=0)


def test_only_families_that_the_product_has_can_be_searched() -> None:
    with pytest.raises(NothingToSearch, match="'crystal_ball' is not one of"):
        defaults_of("crystal_ball", "igw")


def test_ranges_make_sense_and_those_of_known_parameters_are_found_by_their_names() -> None:
    for table in (LEARNER_RANGES, EXPLORATION_RANGES):
        assert all(each.low < each.high for ranges in table.values() for each in ranges.values())
    assert {"learner.alpha", "learner.ridge", "exploration.tau"} <= set(defaults_of("linucb", "igw"))
    assert LEARNERS["linucb"].defaults["alpha"] == defaults_of("linucb", "igw")["learner.alpha"]
    assert EXPLORATIONS["igw"].defaults["tau"] == defaults_of("linucb", "igw")["exploration.tau"]


@pytest.mark.parametrize("learner", sorted(LEARNER_RANGES.keys() & LEARNERS.keys()))
@pytest.mark.parametrize("exploration", sorted(EXPLORATION_RANGES.keys() & EXPLORATIONS.keys()))
def test_whatever_a_trial_proposes_a_pool_can_name(learner: str, exploration: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial({**defaults_of(learner, exploration), "dimension": 32})
    for _ in range(5):
        choice = suggested(study.ask(), learner, exploration, widest=384)
        parse_learner(choice.learner)
        parse_exploration(choice.exploration)


def test_dimensions_fit_the_embeddings() -> None:
    assert dimensions(384) == [8, 16, 32, 48]
    assert dimensions(5) == [5]


@pytest.mark.parametrize(("low", "expected"), [(0.001, "tuned"), (-0.001, "default")])
def test_a_configuration_holds_the_tuned_settings_only_if_they_are_better(low: float, expected: str) -> None:
    choices = {"default": Choice("linucb", "igw"), "tuned": Choice("linucb:alpha=0.2", "igw:tau=400", 16)}
    decided = replace(found(), **choices, overall=Interval(0.002, low, 0.003))
    pool = yaml.safe_load(as_config(decided, pool_id="chat", encoder_id="static"))["pools"][0]
    wanted = choices[expected]
    assert (pool["learner"], pool["exploration"], pool["dimension"]) == (
        wanted.learner,
        wanted.exploration,
        wanted.dimension,
    )
