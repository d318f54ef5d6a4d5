from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from bandit_router.core.preferences.battles import BattleTable
from bandit_router.core.preferences.bradley_terry import (
    choose_ridge,
    curvature,
    fit_utilities,
    gradient,
    objective,
    repetition,
)
from tests.unit.core.preferences.preference_worlds import ARMS, draw_battles, draw_contexts, random_of

PRIOR = np.array([0.1, 2.0, 2.0])


def differences(beta: np.ndarray) -> np.ndarray:
    return beta - beta.mean(axis=0)


def test_known_arms_are_found_again_from_their_battles() -> None:
    random = random_of(1)
    beta = random.normal(size=(4, 3))
    contexts = draw_contexts(random, 4000, 3)
    fitted = fit_utilities(draw_battles(random, beta, contexts), contexts, ridge=0.1)
    assert np.abs(differences(fitted.mean) - differences(beta)).max() < 0.12


def one_a_prompt(battles: BattleTable) -> BattleTable:
    return battles.rows(np.unique(battles.prompt, return_index=True)[1])


def table_of(*battles: tuple[int, int, int]) -> BattleTable:
    prompt, first, second = np.array(battles).reshape(-1, 3).T
    return BattleTable(("a", "b", "c"), prompt, first, second, np.ones(len(prompt)))


def test_battles_about_one_prompt_count_for_one_less_than_the_arms_that_fought() -> None:
    once = [(0, 0, 1), (1, 1, 2)]
    assert repetition(table_of()) == 1.0
    assert repetition(table_of(*once)) == 1.0
    assert repetition(table_of(*once, (0, 1, 2))) == 1.0  # three arms about prompt 0: two battles are two differences
    assert repetition(table_of((0, 0, 1), (0, 1, 2), (0, 0, 2))) == 1.5
    assert repetition(table_of(*[(0, 0, 1)] * 4, (1, 0, 1))) == 2.5


def test_the_same_battles_told_four_times_are_no_more_certain() -> None:
    random = random_of(3)
    contexts = draw_contexts(random, 300, 3)
    battles = one_a_prompt(draw_battles(random, random.normal(size=(3, 3)), contexts))
    often = battles.rows(np.tile(np.arange(len(battles)), 4))
    once, again = (fit_utilities(table, contexts, ridge=1e-6, bias=1e-6) for table in (battles, often))
    assert again.mean == pytest.approx(once.mean, abs=1e-4)
    assert again.contrast_covariance(0) == pytest.approx(once.contrast_covariance(0), rel=1e-3)


def test_the_covariance_tells_how_far_estimates_lie_from_the_truth() -> None:
    random = random_of(2)
    beta = random.normal(scale=0.7, size=(3, 3))
    squares = []
    for _ in range(30):
        contexts = draw_contexts(random, 300, 3)
        battles = one_a_prompt(draw_battles(random, beta, contexts))
        fitted = fit_utilities(battles, contexts, ridge=0.01, bias=0.01)
        contrast = np.kron([1.0, -1.0, 0.0], np.eye(3))
        error = contrast @ (fitted.mean - beta).ravel()
        squares.append(error @ np.linalg.solve(contrast @ fitted.covariance @ contrast.T, error))
    assert 1.8 < np.mean(squares) < 4.5  # χ² with 3 degrees of freedom: mean 3


def test_the_gradient_is_that_of_the_objective_and_the_curvature_that_of_the_gradient() -> None:
    random = random_of(3)
    contexts = draw_contexts(random, 20, 3)
    table = draw_battles(random, random.normal(size=(3, 3)), contexts, tie_share=0.3)
    beta = random.normal(size=(3, 3))
    shape = beta.shape
    numeric = approx_fprime(beta.ravel(), lambda b: objective(b.reshape(shape), table, contexts, PRIOR), 1e-6)
    assert gradient(beta, table, contexts, PRIOR).ravel() == pytest.approx(numeric, abs=1e-3)
    numeric = approx_fprime(beta.ravel(), lambda b: gradient(b.reshape(shape), table, contexts, PRIOR).ravel(), 1e-6)
    exact = curvature(beta, table, contexts) + np.diag(np.tile(PRIOR, 3))
    assert exact == pytest.approx(numeric, abs=1e-3)


def test_who_is_named_first_makes_no_difference() -> None:
    random = random_of(4)
    contexts = draw_contexts(random, 50, 3)
    table = draw_battles(random, random.normal(size=(3, 3)), contexts, tie_share=0.2)
    turned = BattleTable(table.arm_ids, table.prompt, table.second, table.first, 1.0 - table.wins)
    one, other = (fit_utilities(t, contexts, ridge=1.0) for t in (table, turned))
    assert one.mean == pytest.approx(other.mean, abs=1e-8)
    assert one.covariance == pytest.approx(other.covariance, abs=1e-8)


def test_the_order_of_battles_makes_no_difference() -> None:
    random = random_of(5)
    contexts = draw_contexts(random, 50, 3)
    table = draw_battles(random, random.normal(size=(3, 3)), contexts)
    shuffled = table.rows(random.permutation(len(table)))
    assert fit_utilities(table, contexts, ridge=1.0).mean == pytest.approx(
        fit_utilities(shuffled, contexts, ridge=1.0).mean, abs=1e-8
    )


def test_two_ties_say_what_a_win_of_each_says() -> None:
    contexts = np.array([[1.0, 0.5]])
    zeros, ones = np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64)
    ties = BattleTable(ARMS[:2], zeros, zeros, ones, np.array([0.5, 0.5]))
    wins = BattleTable(ARMS[:2], zeros, zeros, ones, np.array([1.0, 0.0]))
    one, other = (fit_utilities(t, contexts, ridge=1.0) for t in (ties, wins))
    assert one.mean == pytest.approx(other.mean)
    assert one.covariance == pytest.approx(other.covariance)


def test_without_battles_the_prior_is_left() -> None:
    none = np.zeros(0, dtype=np.int64)
    fitted = fit_utilities(BattleTable(ARMS, none, none, none, np.zeros(0)), np.zeros((0, 2)), ridge=4.0, bias=0.5)
    assert not fitted.mean.any()
    assert np.diag(fitted.covariance) == pytest.approx(np.tile([2.0, 0.25], 4))


def test_a_strong_ridge_is_chosen_where_prompts_tell_nothing() -> None:
    random = random_of(6)
    contexts = draw_contexts(random, 60, 8)
    beta = np.zeros((3, 8))
    beta[:, 0] = [1.0, 0.0, -1.0]
    idle = draw_battles(random, beta, contexts, per_prompt=2)
    telling = draw_battles(random, random.normal(scale=2.0, size=(3, 8)), contexts, per_prompt=20)
    assert choose_ridge(idle, contexts) > choose_ridge(telling, contexts)
