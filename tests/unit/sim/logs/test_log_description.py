from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bandit_router_sim.logs.describe import MixPoint, describe, render_table
from bandit_router_sim.logs.full import FloatArray, FullLog

NAN = np.nan


def log_of(scores: FloatArray, costs: FloatArray) -> FullLog:
    n, arms = scores.shape
    empty = np.full((n, arms), NAN)
    names = tuple(f"q{i}" for i in range(n))
    arm_ids = tuple(f"[arm]{k}" for k in range(arms))
    return FullLog("log", arm_ids, names, names, ("s",) * n, ("",) * n, scores, costs, empty, empty)


tables = st.tuples(st.integers(0, 6), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float64, shape, elements=st.sampled_from([NAN, 0.0, 0.25, 0.5, 1.0])),
        hnp.arrays(np.float64, shape, elements=st.sampled_from([NAN, 0.0, 1e-6, 1e-4, 1e-2])),
    )
)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_a_description_agrees_with_counting_by_hand(table: tuple[FloatArray, FloatArray]) -> None:
    scores, costs = table
    description = describe(log_of(scores, costs))
    rows = [list(zip(s, c, strict=True)) for s, c in zip(scores.tolist(), costs.tolist(), strict=True)]
    assert description.complete_rows == sum(all(s == s and c == c for s, c in row) for row in rows)
    for k, arm in enumerate(description.arms):
        answered = [row[k] for row in rows if row[k][0] == row[k][0]]
        priced = [c for _, c in answered if c == c]
        assert (arm.answered, arm.priced) == (len(answered), len(priced))
        if priced:
            assert (arm.min_cost_usd, arm.max_cost_usd) == (min(priced), max(priced))
    known = [[(s, -c) for s, c in row if s == s and c == c] for row in rows]
    best = [max(pairs) for pairs in known if pairs]
    if best:
        expected = (np.mean([s for s, _ in best]), np.mean([-c for _, c in best]))
        np.testing.assert_allclose((description.oracle_score, description.oracle_cost_usd), expected)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_every_description_can_be_dumped_and_shown(table: tuple[FloatArray, FloatArray]) -> None:
    description = describe(log_of(*table))
    assert json.loads(json.dumps(description.as_dict(), allow_nan=False))["rows"] == len(table[0])
    shown = render_table(description)
    assert all(arm.arm_id in shown for arm in description.arms)


def test_the_static_mix_has_no_dominated_arm_and_compares_common_queries() -> None:
    scores = np.asarray([[0.0, 1.0, 0.5, NAN], [1.0, 1.0, 0.5, NAN], [1.0, NAN, 1.0, 1.0]])
    costs = np.asarray([[1.0, 3.0, 2.0, NAN], [1.0, 3.0, 2.0, NAN], [1.0, 3.0, 2.0, NAN]]) / 1000
    description = describe(log_of(scores, costs))
    assert description.mix_rows == 2
    assert description.static_mix == (MixPoint("[arm]0", 0.001, 0.5), MixPoint("[arm]1", 0.003, 1.0))


def test_a_log_without_costs_has_an_oracle_and_no_static_mix() -> None:
    description = describe(log_of(np.asarray([[0.0, 1.0], [0.5, 0.0]]), np.full((2, 2), NAN)))
    assert (description.oracle_score, description.static_mix) == (0.75, ())
    assert np.isnan(description.oracle_cost_usd)
    assert description.as_dict()["oracle_cost_usd"] is None
