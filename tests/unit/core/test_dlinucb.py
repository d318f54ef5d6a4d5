from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.learners.registry import keep_for, parse_learner
from bandit_router.core.model import PoolModel, build_model
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.prior import ArmPrior
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError
from bandit_router.core.tenancy import seen_by
from tests.builders import generator, make_decision, make_outcome, make_quote, make_quotes

D = 4
SPEC = "dlinucb:gamma=0.9,level=0.4,bias=2,ridge=3"


def rows(count: int, seed: int = 3) -> FloatArray:
    found = generator(seed).normal(size=(count, D)).astype(np.float32).astype(np.float64)
    found[:, 0] = 1.0
    return found


def taught(spec: str, xs: FloatArray, ys: FloatArray, *, tenants: int = 1) -> PoolState:
    state = PoolState(D)
    keep_for(parse_learner(spec), state)
    for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
        decision = make_decision(
            x,
            decision_id=f"d{number}",
            tenant_id=f"t{number % tenants}",
            isolated=False,
            decided_ms=number,
            learned_rewards=number,
            quotes=(make_quote("a"),),
        )
        learn(state, decision, make_outcome(), make_outcome(reward=float(y)))
    return state


def model(state: PoolState, spec: str) -> PoolModel:
    return build_model(state, ["a"], parse_learner(spec))


def test_predictions_and_widths_are_those_of_the_paper() -> None:
    xs, ys = rows(30), generator(4).uniform(size=30)
    weights, prior = 0.9 ** np.arange(29, -1, -1), np.diag([2.0, 3.0, 3.0, 3.0])
    v = prior + (weights[:, None] * xs).T @ xs
    v_squared = prior + (np.square(weights)[:, None] * xs).T @ xs
    theta = np.linalg.solve(v, 2.0 * 0.4 * np.eye(D)[0] + xs.T @ (weights * ys))
    found = model(taught(SPEC, xs, ys), SPEC).predict(xs)
    assert found.reward[:, 0] == pytest.approx(xs @ theta)
    inverse = np.linalg.inv(v)
    assert np.square(found.deviation[:, 0]) == pytest.approx([x @ inverse @ v_squared @ inverse @ x for x in xs])


def test_without_discount_it_is_linucb() -> None:
    xs, ys = rows(30), generator(4).uniform(size=30)
    mine, theirs = (
        model(taught(spec, xs, ys), spec).predict(rows(9, seed=8)) for spec in ("dlinucb:gamma=1", "linucb")
    )
    assert mine.reward == pytest.approx(theirs.reward)
    assert mine.deviation == pytest.approx(theirs.deviation)


def test_what_was_true_long_ago_is_forgotten() -> None:
    xs = rows(400)
    ys = np.where(np.arange(400) < 200, 0.9, 0.3)
    forgetting, keeping = (
        model(taught(spec, xs, ys), spec).predict(rows(50, seed=8)).reward.mean()
        for spec in ("dlinucb:gamma=0.95", "linucb")
    )
    assert forgetting == pytest.approx(0.3, abs=0.03)
    assert keeping > 0.5


def test_a_pool_that_has_just_named_it_is_served_from_what_its_sums_will_begin_with() -> None:
    xs, ys = rows(60), generator(4).uniform(size=60)
    state = taught("linucb", xs, ys)
    unasked = model(state, SPEC).predict(rows(9, seed=8))
    keep_for(parse_learner(SPEC), state)
    asked = model(state, SPEC).predict(rows(9, seed=8))
    assert (unasked.reward == asked.reward).all()
    assert (unasked.deviation == asked.deviation).all()
    assert state.discounted.arms["a"].weight == pytest.approx(10.0)


def test_an_imported_prior_is_where_an_arm_starts() -> None:
    prior = {"a": ArmPrior(np.array([0.7, 0.1, 0.0, 0.0]), 30.0 * np.eye(D))}
    mine, theirs = (
        build_model(PoolState(D), ["a", "b"], parse_learner(spec), prior).predict(np.eye(D))
        for spec in ("dlinucb", "linucb")
    )
    assert mine.reward == pytest.approx(theirs.reward)
    assert mine.reward[0, 0] != pytest.approx(mine.reward[0, 1])


def test_tenants_are_served_from_their_own_discounted_sums_and_each_others() -> None:
    xs, ys = rows(300), np.where(np.arange(300) % 2, 0.9, 0.3)
    spec = "dlinucb:gamma=0.99,taste=5"
    state, asked = taught(spec, xs, ys, tenants=2), rows(40, seed=8)
    levels = [
        model(seen_by(state, name, parse_learner(spec).tenancy), spec).predict(asked).reward.mean()
        for name in ("t0", "t1", "new")
    ]
    assert levels[:2] == pytest.approx([0.3, 0.9], abs=0.06)
    assert levels[0] < levels[2] < levels[1]


def test_one_tenant_moves_another_by_no_more_than_its_voice() -> None:
    xs, spec = rows(400), "dlinucb:gamma=0.999"
    quiet = taught(spec, xs[:200], np.full(200, 0.5), tenants=2)
    asked, moved = rows(20, seed=8), []
    for voice in (1.0, 100.0):
        told = f"{spec},voice={voice:g}"
        before = model(seen_by(quiet, "t0", parse_learner(told).tenancy), told).predict(asked).reward
        loud = quiet.copy()
        for number, x in enumerate(xs[200:], 200):
            decision = replace(
                make_decision(x, decision_id=f"d{number}", tenant_id="t1", isolated=False, decided_ms=number),
                learned_rewards=number,
                quotes=make_quotes(make_quote("a")),
            )
            learn(loud, decision, make_outcome(), make_outcome(reward=1.0))
        after = model(seen_by(loud, "t0", parse_learner(told).tenancy), told).predict(asked).reward
        moved.append(float(np.abs(after - before).max()))
    assert moved[0] < 0.02
    assert moved[0] < 0.3 * moved[1]


@pytest.mark.parametrize("spec", ["dlinucb:gamma=0", "dlinucb:gamma=1.01", "dlinucb:gamma=-1", "dlinucb:alpha=-1"])
def test_parameters_that_make_no_sense_are_refused(spec: str) -> None:
    with pytest.raises(SpecError):
        parse_learner(spec)
