from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.learners.registry import LEARNERS, parse_learner
from bandit_router.core.model import MAX_TOKENS, PoolModel, build_model, capped_tokens
from bandit_router.core.outcomes import Bill, Billing
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.tokens import PRIOR_OUTPUT_TOKENS
from tests.builders import PROPERTY, generator, make_decision, make_outcome, make_quote

DIMENSION = 4
LINUCB = parse_learner("linucb")
DEFAULTS = LEARNERS["linucb"].defaults
Array = npt.NDArray[np.float64]


def taught(lessons: dict[str, tuple[float, int]], count: int = 200, seed: int = 1) -> PoolState:
    """A pool whose arms have shown this reward and this many output tokens on random contexts."""
    source, state = generator(seed), PoolState(DIMENSION, version=3)
    for arm_id, (reward, tokens) in lessons.items():
        for _ in range(count):
            decision = make_decision((1.0, *source.normal(size=DIMENSION - 1)), quotes=(make_quote(arm_id),))
            bill = Bill(10, 10, tokens)
            after = make_outcome(billing=Billing.BILLED, bill=bill, cost_nusd=10, reward=reward)
            learn(state, decision, make_outcome(), after)
    return state


def contexts(count: int = 5, seed: int = 2) -> Array:
    return np.column_stack([np.ones(count), generator(seed).normal(size=(count, DIMENSION - 1))])


def test_arms_without_history_are_predicted_by_their_prior() -> None:
    predictions = build_model(PoolState(DIMENSION), ["a", "b"], LINUCB).predict(contexts())
    assert predictions.reward == pytest.approx(np.full((5, 2), DEFAULTS["level"]))
    assert predictions.log_tokens == pytest.approx(np.full((5, 2), math.log(PRIOR_OUTPUT_TOKENS)))
    expected = np.sqrt(1 / DEFAULTS["bias"] + np.square(contexts()[:, 1:]).sum(axis=1) / DEFAULTS["ridge"])
    assert predictions.deviation == pytest.approx(np.column_stack([expected, expected]))


def test_predictions_are_in_the_order_of_the_arms_asked_for() -> None:
    state = taught({"a": (0.1, 50), "b": (0.9, 800)})
    forth, back = (build_model(state, ids, LINUCB).predict(contexts()) for ids in (["a", "b"], ["b", "a"]))
    assert (forth.reward == back.reward[:, ::-1]).all()
    assert (forth.log_tokens == back.log_tokens[:, ::-1]).all()
    assert (forth.reward[:, 0] < forth.reward[:, 1]).all()


def test_arms_that_the_state_knows_but_nobody_asks_for_are_left_out() -> None:
    model = build_model(taught({"a": (0.1, 50), "b": (0.9, 800)}), ["b", "new"], LINUCB)
    assert model.arm_ids == ("b", "new")
    assert model.version == 3
    assert model.predict(contexts()).reward.shape == (5, 2)


def test_what_was_taught_is_predicted() -> None:
    predictions = build_model(taught({"a": (0.3, 120)}), ["a"], LINUCB).predict(contexts())
    assert predictions.reward == pytest.approx(np.full((5, 1), 0.3), abs=0.02)
    assert predictions.output_tokens(np.array([1e6])) == pytest.approx(np.full((5, 1), 120), rel=0.1)


def test_history_narrows_the_uncertainty() -> None:
    fresh, old = (build_model(s, ["a"], LINUCB) for s in (PoolState(DIMENSION), taught({"a": (0.3, 120)})))
    assert (old.predict(contexts()).deviation < fresh.predict(contexts()).deviation).all()


@PROPERTY
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=DIMENSION, max_size=DIMENSION))
def test_extreme_contexts_give_finite_predictions(context: list[float]) -> None:
    predictions = TAUGHT.predict(np.array([context]))
    most = np.array([1000.0, 1e7])
    for values in (predictions.reward, predictions.deviation, predictions.output_tokens(most)):
        assert np.isfinite(values).all()
    assert (predictions.output_tokens(most) <= most).all()
    assert (predictions.output_tokens(most) >= 0).all()
    assert (predictions.deviation >= 0).all()


TAUGHT: PoolModel = build_model(taught({"a": (0.1, 50), "b": (1.0, 10**6)}, count=2), ["a", "b"], LINUCB)


def test_a_batch_predicts_as_its_rows_do() -> None:
    batch = TAUGHT.predict(contexts())
    rows = [TAUGHT.predict(row[None, :]) for row in contexts()]
    assert batch.reward == pytest.approx(np.vstack([row.reward for row in rows]))
    assert batch.deviation == pytest.approx(np.vstack([row.deviation for row in rows]))


@PROPERTY
@given(st.lists(st.floats(-5, 5), min_size=DIMENSION, max_size=DIMENSION))
def test_a_single_query_is_predicted_as_many_are(context: list[float]) -> None:
    many = TAUGHT.predict(np.array([context]))
    rewards, deviations, log_tokens = TAUGHT.predict_one(np.array(context))
    assert rewards == pytest.approx(many.reward[0].tolist())
    assert deviations == pytest.approx(many.deviation[0].tolist(), abs=1e-9)
    lifted = np.array(log_tokens) + TAUGHT.tokens.lift
    tokens = [capped_tokens(log, 1000) for log in lifted.tolist()]
    assert tokens == pytest.approx(many.output_tokens(np.array([1000.0, 1000.0]))[0].tolist())


@pytest.mark.parametrize("log_tokens", [-50.0, 0.0, 5.0, 6.9, 6.91, 100.0, 1e308])
def test_answers_have_no_more_tokens_than_there_may_be(log_tokens: float) -> None:
    assert 0.0 <= capped_tokens(log_tokens, 1000) <= 1000.0
    assert isinstance(capped_tokens(log_tokens, 1000), float)
    assert capped_tokens(log_tokens, 10**9) <= MAX_TOKENS


def test_a_pool_without_arms_has_an_empty_model() -> None:
    assert build_model(PoolState(DIMENSION), [], LINUCB).predict(contexts()).reward.shape == (5, 0)
