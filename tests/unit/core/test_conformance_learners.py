"""What every learner owes, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from bandit_router.core.decision import Decision
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import LEARNERS, keep_for, parse_learner
from bandit_router.core.model import PoolModel, Predictions, build_model
from bandit_router.core.outcomes import Bill, Billing, Outcome
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.preferences.scores import with_scores
from bandit_router.core.prior import ArmPrior, Relative
from tests.builders import generator, make_decision, make_outcome, make_quote

ON_RELATIVE_PRIORS = "hierarchical:alpha=1.3"
"""The default learner once more, with priors that keep apart what arms have in common."""

SPECS = [
    *LEARNERS,
    ON_RELATIVE_PRIORS,
    "linucb:alpha=0",
    "dlinucb:gamma=0.95",
    "pilot:cosine=1,strength=3",
    "lints:v=0.3",
    "epsilon_greedy:epsilon=0.3",
    "epoch_greedy:exploit=5",
    "knn:k=25,buffer=40",
    "static:a",
    "static:a=0.7,c=0.3",
]
EVERY_LEARNER = pytest.mark.parametrize("spec", SPECS)
ARM_IDS = ("a", "b", "c")
DIMENSION = 5
PRIORS = {"a": ArmPrior(np.array([0.6, 0.1, 0.0, 0.0, -0.1]), 4.0 * np.eye(DIMENSION))}
_BATTLES = Relative(np.array([0.7, 0.0, 0.1, 0.0, 0.1]), 60.0 * np.eye(DIMENSION), 0.4 * np.eye(DIMENSION) + 0.1)
RELATIVE = {
    "a": with_scores(_BATTLES.alone(), 2.0 * np.eye(DIMENSION), np.array([1.2, 0.2, 0.0, 0.0, -0.2])),
    "b": replace(_BATTLES, mean=np.array([0.5, 0.1, 0.0, 0.0, 0.2])).alone(),
    "c": PRIORS["a"],
}

Array = npt.NDArray[np.float64]
Event = tuple[Decision, Outcome, Outcome]


def lessons(count: int, seed: int = 1) -> list[Event]:
    """Billed and rated decisions, arms in turn, one event each."""
    source, found = generator(seed), []
    for number in range(count):
        context = (1.0, *source.normal(size=DIMENSION - 1))
        arm_id = ARM_IDS[number % len(ARM_IDS)]
        decision = make_decision(
            context,
            decision_id=f"d{number:05}",
            decided_ms=10 * number,
            learned_rewards=10 * number,
            quotes=(make_quote(arm_id),),
        )
        reward = float(np.clip(0.5 + 0.2 * context[1] + 0.1 * source.normal(), 0.0, 1.0))
        found.append((decision, make_outcome(), rated(make_outcome(), reward)))
    return found


def rated(outcome: Outcome, reward: float | None) -> Outcome:
    return replace(outcome, billing=Billing.BILLED, bill=Bill(50, 100, 120), cost_nusd=50, reward=reward)


def fresh(spec: str) -> PoolState:
    state = PoolState(DIMENSION, version=4)
    keep_for(parse_learner(spec), state)
    return state


def taught(spec: str, events: Iterable[Event]) -> PoolState:
    state = fresh(spec)
    for event in events:
        learn(state, *event)
    return state


def fitted(spec: str, state: PoolState, arm_ids: Sequence[str] = ARM_IDS) -> PoolModel:
    return build_model(state, arm_ids, parse_learner(spec), RELATIVE if spec == ON_RELATIVE_PRIORS else PRIORS)


def contexts(count: int = 7) -> Array:
    return np.column_stack([np.ones(count), generator(99).normal(size=(count, DIMENSION - 1))])


def told(model: PoolModel, asked: Array | None = None) -> tuple[Predictions, list[float]]:
    """Everything about choices that comes from the learner: predictions, and its stance."""
    shares = [] if model.fitted.shares is None else model.fitted.shares.tolist()
    predictions = model.predict(contexts() if asked is None else asked)
    return predictions, [model.alpha, model.fitted.uniform_share, *shares]


def assert_same(one: PoolModel, other: PoolModel, *, rel: float = 1e-9) -> None:
    (mine, stance), (theirs, expected) = told(one), told(other)
    assert mine.reward == pytest.approx(theirs.reward, rel=rel, abs=rel)
    assert mine.deviation == pytest.approx(theirs.deviation, rel=rel, abs=rel)
    assert mine.log_tokens == pytest.approx(theirs.log_tokens, rel=rel, abs=rel)
    assert stance == expected


def test_every_learner_takes_part() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == set(LEARNERS)


@EVERY_LEARNER
def test_fitting_leaves_the_state_as_it_was(spec: str) -> None:
    state = taught(spec, lessons(30))
    before = encode_pool_state(state)
    fitted(spec, state).predict(contexts())
    assert encode_pool_state(state) == before
    assert PRIORS["a"].mean.tolist() == [0.6, 0.1, 0.0, 0.0, -0.1]


@EVERY_LEARNER
def test_a_fitted_learner_does_not_change_as_the_state_goes_on(spec: str) -> None:
    state = taught(spec, lessons(30))
    model = fitted(spec, state)
    before, stance = told(model)
    for event in lessons(60)[30:]:
        learn(state, *event)
    after, still = told(model)
    assert (after.reward == before.reward).all()
    assert (after.deviation == before.deviation).all()
    assert still == stance


@EVERY_LEARNER
def test_predictions_belong_to_whoever_asked_for_them(spec: str) -> None:
    model, asked = fitted(spec, taught(spec, lessons(30))), contexts()
    first, _ = told(model, asked)
    kept = first.reward.copy(), first.deviation.copy()
    assert (asked == contexts()).all()
    first.reward[:], first.deviation[:] = -1.0, -1.0
    again, _ = told(model)
    assert (again.reward == kept[0]).all()
    assert (again.deviation == kept[1]).all()


@EVERY_LEARNER
def test_the_same_state_is_always_told_the_same_to_the_last_bit(spec: str) -> None:
    one, other = (fitted(spec, taught(spec, lessons(50))) for _ in range(2))
    assert (told(one)[0].reward == told(other)[0].reward).all()
    assert (told(one)[0].deviation == told(other)[0].deviation).all()
    assert told(one)[1] == told(other)[1]


@EVERY_LEARNER
@pytest.mark.parametrize("seed", [1, 2])
def test_outcomes_teach_the_same_in_any_order(spec: str, seed: int) -> None:
    events = lessons(90)
    shuffled = [events[index] for index in generator(seed).permutation(len(events))]
    assert_same(fitted(spec, taught(spec, shuffled)), fitted(spec, taught(spec, events)))


@EVERY_LEARNER
def test_a_reward_that_comes_long_after_its_bill_teaches_the_same(spec: str) -> None:
    late: list[Event] = []
    late += [(decision, before, rated(before, None)) for decision, before, _ in lessons(60)]
    late += [(decision, rated(before, None), after) for decision, before, after in lessons(60)]
    assert_same(fitted(spec, taught(spec, late)), fitted(spec, taught(spec, lessons(60))))


@EVERY_LEARNER
def test_a_corrected_reward_has_never_been_another(spec: str) -> None:
    events = lessons(60)
    wrong = [(d, b, rated(b, 1.0 - (a.reward or 0.0))) for d, b, a in events]
    corrections = [(d, rated(b, 1.0 - (a.reward or 0.0)), a) for d, b, a in events]
    assert_same(fitted(spec, taught(spec, wrong + corrections)), fitted(spec, taught(spec, events)))


@EVERY_LEARNER
def test_a_retracted_reward_has_never_been_given(spec: str) -> None:
    """While places last: a retracted example keeps its own (see `core.examples`), so at most 32 decisions here."""
    events, strange = lessons(20), lessons(32, seed=8)[20:]
    retracted = [(d, a, rated(b, None)) for d, b, a in strange]
    never = [(d, b, rated(b, None)) for d, b, _ in strange]
    assert_same(fitted(spec, taught(spec, events + strange + retracted)), fitted(spec, taught(spec, events + never)))


@EVERY_LEARNER
def test_it_does_not_matter_how_outcomes_are_batched_into_snapshots(spec: str) -> None:
    state = fresh(spec)
    for number, event in enumerate(lessons(90)):
        learn(state, *event)
        if number % 7 == 0:
            state = decode_pool_state(encode_pool_state(state)).copy()
    assert encode_pool_state(state) == encode_pool_state(taught(spec, lessons(90)))
    assert_same(fitted(spec, state), fitted(spec, taught(spec, lessons(90))))


@EVERY_LEARNER
@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_predictions_are_finite_whatever_has_been_seen(spec: str, count: int) -> None:
    asked = np.vstack([contexts(), np.zeros(DIMENSION), 1e3 * contexts(1)])
    predictions, stance = told(fitted(spec, taught(spec, lessons(count))), asked)
    for values in (predictions.reward, predictions.deviation, predictions.log_tokens):
        assert values.shape == (len(asked), len(ARM_IDS))
        assert np.isfinite(values).all()
    assert (predictions.deviation >= 0.0).all()
    assert np.isfinite(stance).all()


@EVERY_LEARNER
def test_one_arm_alone_and_none_at_all_are_pools_too(spec: str) -> None:
    state = taught(spec, lessons(30))
    assert told(fitted(spec, state, ["b"]))[0].reward.shape == (7, 1)
    assert told(fitted(spec, state, []))[0].reward.shape == (7, 0)
    model = fitted(spec, state, ["b"])
    layer = model.exploration(parse_exploration("igw"))
    scores = np.array([0.3])
    assert layer.weigh(scores, scores, lambda _: scores[None, :]).tolist() == [1.0]


@EVERY_LEARNER
def test_arms_are_told_in_the_order_asked_and_do_not_depend_on_who_else_is_asked(spec: str) -> None:
    state = taught(spec, lessons(60))
    whole, part = told(fitted(spec, state))[0], told(fitted(spec, state, ["c", "a"]))[0]
    assert part.reward == pytest.approx(whole.reward[:, [2, 0]])
    assert part.deviation == pytest.approx(whole.deviation[:, [2, 0]])


@EVERY_LEARNER
def test_a_batch_of_queries_is_told_what_each_is_told_alone(spec: str) -> None:
    model = fitted(spec, taught(spec, lessons(60)))
    whole, _ = told(model)
    rows = [told(model, row[None, :])[0] for row in contexts()]
    assert whole.reward == pytest.approx(np.vstack([row.reward for row in rows]))
    assert whole.deviation == pytest.approx(np.vstack([row.deviation for row in rows]))


@EVERY_LEARNER
def test_a_stance_is_one_that_choices_can_be_made_from(spec: str) -> None:
    fit = fitted(spec, taught(spec, lessons(60))).fitted
    assert fit.alpha >= 0.0
    assert 0.0 <= fit.uniform_share <= 1.0
    if fit.shares is not None:
        assert fit.shares.shape == (len(ARM_IDS),)
        assert (fit.shares >= 0.0).all()
        assert fit.shares.any()


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not spec.startswith("pilot:cosine")])
def test_more_outcomes_of_one_value_bring_the_prediction_towards_it(spec: str) -> None:
    """By the arm whose contexts and rewards are all the same; the cosine has no level and is left out."""
    asked = np.array([[1.0, 0.5, -0.5, 0.2, 0.1]])

    def predicted(count: int) -> float:
        events = [
            (
                make_decision(asked[0], decision_id=f"d{number}", decided_ms=number, quotes=(make_quote("b"),)),
                make_outcome(),
                rated(make_outcome(), 0.25),
            )
            for number in range(count)
        ]
        return float(told(fitted(spec, taught(spec, events), ["b"]), asked)[0].reward[0, 0])

    distances = [abs(predicted(count) - 0.25) for count in (0, 1, 5, 19)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.05
