"""The variance that the propensities foretell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router_sim.ope.anticipated import anticipated_variance
from bandit_router_sim.ope.estimators import dr
from bandit_router_sim.ope.evaluate import evaluate_prepared
from bandit_router_sim.ope.intervals import normal_interval
from bandit_router_sim.ope.policies import Situations
from bandit_router_sim.ope.prepare import Options, prepare
from tests.builders import generator
from tests.unit.sim.ope.ope_logs import TARGET, random_rows, small_log

ROWS = 1500


def test_it_is_by_hand_what_the_formula_says() -> None:
    rows = random_rows()
    rows = replace(rows, observed_weights=np.ones(len(rows)))
    squares = rows.residuals**2
    expected = rows.direct.var()
    for arm in range(rows.target.shape[1]):
        own = squares[rows.actions == arm]
        error = (own.sum() + 5.0 * squares.mean()) / (len(own) + 5.0)
        expected += np.mean(rows.target[:, arm] ** 2 / rows.propensities[:, arm]) * error
    assert anticipated_variance(rows) == pytest.approx(expected)


def test_it_foretells_how_estimates_scatter_from_log_to_log() -> None:
    foretold, values = [], []
    for seed in range(60):
        log = small_log(rows=ROWS, seed=seed)
        rows = prepare(log, Options()).reward.rows(TARGET(Situations.of(log)), log)
        foretold.append(anticipated_variance(rows))
        values.append(dr(rows).value)
    assert np.var(values, ddof=1) * ROWS == pytest.approx(np.mean(foretold), rel=0.5)
    assert np.std(foretold) < 0.2 * np.mean(foretold)


def test_missing_outcomes_add_to_it_as_their_weights_do() -> None:
    rows = random_rows()
    predicted = np.take_along_axis(rows.predictions, rows.actions[:, None], axis=1)[:, 0]
    complete = replace(rows, outcomes=predicted + 0.2, observed_weights=np.ones(len(rows)))
    seen = generator(3).random(len(rows)) < 0.5
    halved = replace(complete, observed_weights=np.where(seen, 2.0, 0.0))
    moments = np.mean(rows.target**2 / rows.propensities, axis=0)
    drawn, kept = (np.bincount(rows.actions[chosen]) for chosen in (np.ones_like(seen), seen))
    assert anticipated_variance(halved) - rows.direct.var() == pytest.approx(0.04 * np.sum(moments * drawn / kept))
    assert anticipated_variance(complete) - rows.direct.var() == pytest.approx(0.04 * np.sum(moments))


def test_nothing_observed_foretells_nothing() -> None:
    rows = random_rows()
    assert anticipated_variance(replace(rows, observed_weights=np.zeros(len(rows)))) == 0.0


def test_an_interval_is_no_narrower_than_what_is_known_of_its_variance() -> None:
    values = generator(0).random(400)
    assert normal_interval(values, least_variance=0.5 * values.var()) == normal_interval(values)
    wide = normal_interval(values, least_variance=4.0 * values.var(ddof=1))
    assert wide.width == pytest.approx(2.0 * normal_interval(values).width)


def test_rewards_intervals_of_dr_use_it_and_costs_do_not() -> None:
    """On this log few heavy rows were drawn, so that the sample variance is below what was to be expected."""
    log = small_log(rows=300, seed=2)
    prepared = prepare(log, Options(is_forced=True))
    found = evaluate_prepared(prepared, TARGET(Situations.of(log)), name="target")
    for outcome, result in ((prepared.reward, found.reward), (prepared.cost, found.cost)):
        assert result is not None
        rows = outcome.rows(TARGET(Situations.of(log)), log)
        sample = normal_interval(dr(rows).row_values)
        if outcome.kind.name == "reward":
            assert result.readings["dr"].normal.width > 1.05 * sample.width
            assert result.readings["dm"].normal.width == pytest.approx(result.readings["dr"].normal.width)
        else:
            assert result.readings["dr"].normal == sample
