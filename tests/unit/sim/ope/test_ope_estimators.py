from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router_sim.ope.estimators import (
    ESTIMATORS,
    Estimate,
    Rows,
    clipped_ips,
    dm,
    dr,
    dros,
    ips,
    replay,
    sndr,
    snips,
    switch_dr,
)
from tests.builders import FEW, PROPERTY, generator
from tests.unit.sim.ope.ope_logs import random_rows

REQUESTS = np.array([0.5, 0.3, 0.2])
PROPENSITIES = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
TARGET = np.array([[0.1, 0.9], [0.6, 0.4], [1.0, 0.0]])
OUTCOMES = np.array([[0.2, 0.9], [0.4, 0.1], [0.7, 1.0]])
CHANCES = np.array([[0.5, 0.9], [1.0, 0.25], [0.6, 0.4]])
TRUTH = float(np.sum(REQUESTS[:, None] * TARGET * OUTCOMES))

chances = st.floats(0.0, 1.0)
tables = st.lists(st.lists(chances, min_size=2, max_size=2), min_size=3, max_size=3).map(np.array)


def every_log(predictions: np.ndarray, *, length: int = 2) -> Iterator[tuple[float, Rows]]:
    """All logs of that many rows, with their probabilities: three requests, two arms, outcomes observed or not."""
    cells = list(itertools.product(range(3), range(2), (False, True)))
    for log in itertools.product(cells, repeat=length):
        x, a, seen = (np.array(column) for column in zip(*log, strict=True))
        weight = REQUESTS[x] * PROPENSITIES[x, a] * np.where(seen, CHANCES[x, a], 1.0 - CHANCES[x, a])
        rows = Rows(
            target=TARGET[x],
            propensities=PROPENSITIES[x],
            actions=a,
            outcomes=np.where(seen, OUTCOMES[x, a], 0.0),
            observed_weights=np.where(seen, 1.0 / CHANCES[x, a], 0.0),
            predictions=predictions[x],
        )
        yield float(np.prod(weight)), rows


def expectation(estimator: Callable[[Rows], Estimate], predictions: np.ndarray) -> float:
    return math.fsum(weight * estimator(rows).value for weight, rows in every_log(predictions))


@FEW
@given(tables)
@pytest.mark.parametrize("estimator", [ips, dr])
def test_the_expectation_over_all_logs_is_the_truth_whatever_the_model(
    estimator: Callable[[Rows], Estimate], predictions: np.ndarray
) -> None:
    assert expectation(estimator, predictions) == pytest.approx(TRUTH, abs=1e-12)


def test_the_model_alone_is_unbiased_only_if_it_is_right() -> None:
    assert expectation(dm, OUTCOMES) == pytest.approx(TRUTH)
    assert expectation(dm, OUTCOMES + 0.1) == pytest.approx(TRUTH + 0.1)


def test_a_missing_outcome_taken_for_zero_would_be_biased() -> None:
    def naive(rows: Rows) -> Estimate:
        return ips(replace(rows, observed_weights=np.ones(len(rows))))

    assert expectation(naive, OUTCOMES) < TRUTH - 0.1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_row_values_average_to_the_estimate(name: str) -> None:
    estimate = ESTIMATORS[name](random_rows())
    assert estimate.row_values.mean() == pytest.approx(estimate.value, abs=1e-12)


@pytest.mark.parametrize("name", ["ips", "clipped_ips", "snips", "dm", "dr", "sndr"])
def test_row_values_are_the_influence_function(name: str) -> None:
    """Repeating one row once more moves the estimate by its influence / (n + 1), up to order 1/n²."""
    rows = random_rows(rows=4000)
    estimate = ESTIMATORS[name](rows)
    base = estimate.columns
    for index in range(5):
        again = np.vstack([base, base[index]])
        moved = again[:, 0].mean() + again[:, 1].sum() / again[:, 2].sum() - estimate.value
        influence = (estimate.row_values[index] - estimate.value) / (len(rows) + 1)
        assert moved == pytest.approx(influence, rel=0.02, abs=1e-9)


def test_without_a_model_doubly_robust_is_inverse_propensity_scoring() -> None:
    rows = replace(random_rows(), predictions=np.zeros((50, 3)))
    assert dr(rows).value == ips(rows).value
    assert sndr(rows).value == snips(rows).value


@pytest.mark.parametrize("estimator", [dr, sndr, switch_dr, dros])
def test_where_no_row_has_weight_the_model_alone_remains(estimator: Callable[[Rows], Estimate]) -> None:
    rows = random_rows()
    unweighted = replace(rows, observed_weights=np.zeros(len(rows)))
    assert estimator(unweighted).value == pytest.approx(dm(rows).value)


def test_where_no_row_has_weight_a_normalised_mean_is_no_number() -> None:
    rows = random_rows()
    assert math.isnan(snips(replace(rows, observed_weights=np.zeros(len(rows)))).value)


@PROPERTY
@given(st.floats(-10.0, 10.0), st.integers(0, 1000))
def test_a_shift_of_all_outcomes_shifts_the_self_normalised_estimate_by_as_much(shift: float, seed: int) -> None:
    rows = random_rows(seed)
    shifted = replace(rows, outcomes=rows.outcomes + shift)
    assert snips(shifted).value == pytest.approx(snips(rows).value + shift, abs=1e-9)


def test_inverse_propensity_scores_do_not_shift_with_the_outcomes() -> None:
    rows = random_rows()
    shifted = replace(rows, outcomes=rows.outcomes + 1.0)
    assert abs(ips(shifted).value - ips(rows).value - 1.0) > 1e-3


def test_shrinkage_runs_from_the_model_alone_to_doubly_robust() -> None:
    rows = random_rows()
    assert dros(rows, 0.0).value == dm(rows).value
    assert dros(rows, 1e-12).value == pytest.approx(dm(rows).value)
    assert dros(rows, 1e12).value == pytest.approx(dr(rows).value)
    assert dros(rows, math.inf).value == dr(rows).value


def test_switching_runs_from_the_model_alone_to_doubly_robust() -> None:
    rows = random_rows()
    assert switch_dr(rows, 0.0).value == dm(rows).value
    assert switch_dr(rows, math.inf).value == dr(rows).value


def test_clipping_above_the_largest_weight_changes_nothing() -> None:
    rows = random_rows()
    assert clipped_ips(rows, float(rows.weights.max())).value == ips(rows).value
    assert clipped_ips(rows, 1.0).value < ips(rows).value


@PROPERTY
@given(st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_a_lower_clip_never_raises_the_estimate_of_positive_outcomes(one: float, other: float) -> None:
    rows = random_rows()
    assert clipped_ips(rows, min(one, other)).value <= clipped_ips(rows, max(one, other)).value


def test_a_policy_that_made_the_log_gets_the_mean_of_the_log() -> None:
    rows = random_rows()
    own = replace(rows, target=rows.propensities)
    for estimator in (ips, snips):
        assert estimator(own).value == pytest.approx(rows.outcomes.mean())


def test_replay_of_a_uniform_log_keeps_the_rows_that_agree_with_a_deterministic_policy() -> None:
    rows = random_rows(rows=300)
    wanted = generator(3).integers(0, 3, 300)
    uniform = replace(rows, target=np.eye(3)[wanted], propensities=np.full((300, 3), 1 / 3))
    agreed = rows.actions == wanted
    draws = generator(4).random(300)
    assert replay(uniform, draws).value == pytest.approx(rows.outcomes[agreed].mean())


def test_replay_is_unbiased_where_feasible_sets_differ() -> None:
    """Agreeing with the policy is likelier where fewer arms were feasible; rejection by w corrects for that."""
    random = generator(5)
    count = 40_000
    narrow = random.random(count) < 0.5
    propensities = np.where(narrow[:, None], [1.0, 0.0, 0.0], 1 / 3)
    actions = np.where(narrow, 0, random.integers(0, 3, count))
    rows = Rows(
        target=np.tile([1.0, 0.0, 0.0], (count, 1)),
        propensities=propensities,
        actions=actions,
        outcomes=np.where(narrow, 1.0, 0.0),
        observed_weights=np.ones(count),
        predictions=np.zeros((count, 3)),
    )
    assert rows.outcomes[actions == 0].mean() > 0.7
    assert replay(rows, random.random(count)).value == pytest.approx(0.5, abs=0.02)
