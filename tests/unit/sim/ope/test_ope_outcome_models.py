from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.ope.outcome_models import (
    COST,
    REWARD,
    Observations,
    cross_fitted,
    folds_of,
    predictable,
)
from tests.builders import generator
from tests.unit.sim.ope.ope_logs import small_log

KEYS = [f"decision {index}" for index in range(1000)]


def observations(*, rows: int = 400, logarithmic: bool = False) -> Observations:
    """Outcomes that are linear in the context, or log-linear, with a little noise."""
    random = generator(0)
    contexts = np.column_stack([np.ones(rows), random.standard_normal((rows, 2))])
    actions = random.integers(0, 2, rows)
    slopes = np.array([[0.5, 0.1, 0.0], [0.4, -0.1, 0.05]])
    mean = np.sum(contexts * slopes[actions], axis=1)
    noise = 0.01 * random.standard_normal(rows)
    outcomes = np.exp(10.0 * (mean + noise)) if logarithmic else mean + noise
    return Observations(contexts, actions, outcomes, 2)


def test_folds_depend_on_the_key_alone_and_are_about_even() -> None:
    fold = folds_of(KEYS, 5)
    assert np.array_equal(folds_of(KEYS[::-1], 5)[::-1], fold)
    assert np.array_equal(folds_of(KEYS[100:], 5), fold[100:])
    assert np.bincount(fold).min() > 150


def test_no_row_has_part_in_its_own_prediction() -> None:
    data = observations()
    fold = folds_of(KEYS[:400], 5)
    before = cross_fitted(data, REWARD, fold)
    changed = data.outcomes.copy()
    changed[17] = 0.0
    after = cross_fitted(replace(data, outcomes=changed), REWARD, fold)
    same_fold = fold == fold[17]
    assert np.array_equal(before[same_fold], after[same_fold])
    assert not np.array_equal(before, after)


def test_only_earlier_rows_have_part_in_a_predictable_prediction() -> None:
    data = observations()
    before = predictable(data, REWARD, start=0.5)
    changed = data.outcomes.copy()
    changed[200] = 0.0
    after = predictable(replace(data, outcomes=changed), REWARD, start=0.5)
    assert np.array_equal(before[:201], after[:201])
    assert not np.array_equal(before[256:], after[256:])
    assert (before[:64] == 0.5).all()


def test_predictions_are_close_to_the_means_that_made_the_outcomes() -> None:
    data = observations()
    fitted = cross_fitted(data, REWARD, folds_of(KEYS[:400], 5))
    chosen = np.take_along_axis(fitted, data.actions[:, None], axis=1)[:, 0]
    assert np.abs(chosen - data.outcomes).mean() < 0.02


def test_costs_are_fitted_in_logarithms_where_that_predicts_better() -> None:
    data = observations(logarithmic=True)
    fold = folds_of(KEYS[:400], 5)
    plain = replace(COST, may_be_logarithmic=False)

    def error(kind: object) -> float:
        fitted = cross_fitted(data, kind, fold)  # type: ignore[arg-type]
        chosen = np.take_along_axis(fitted, data.actions[:, None], axis=1)[:, 0]
        return float(np.square(chosen - data.outcomes).mean())

    assert error(COST) < 0.3 * error(plain)


@pytest.mark.parametrize("cost", [0.0, 1e-9])
def test_costs_of_zero_are_no_obstacle(cost: float) -> None:
    data = observations()
    outcomes = np.where(np.arange(400) % 7 == 0, cost, np.abs(data.outcomes))
    assert np.isfinite(cross_fitted(replace(data, outcomes=outcomes), COST, folds_of(KEYS[:400], 5))).all()


def test_missing_outcomes_are_not_learned_from_and_an_unseen_arm_gets_the_overall_mean() -> None:
    log = small_log(rows=300)
    unseen = np.where(log.actions == 2, np.nan, log.rewards)
    data = Observations(log.contexts, log.actions, unseen, 3)
    fold = folds_of(log.decision_ids, 5)
    fitted = cross_fitted(data, REWARD, fold)
    mean = np.nanmean(unseen[fold != fold[0]])
    assert fitted[0, 2] == pytest.approx(mean)


def test_rewards_are_predicted_within_their_range() -> None:
    data = replace(observations(), outcomes=np.round(observations().outcomes))
    fitted = cross_fitted(data, REWARD, folds_of(KEYS[:400], 5))
    assert fitted.min() >= 0.0
    assert fitted.max() <= 1.0
