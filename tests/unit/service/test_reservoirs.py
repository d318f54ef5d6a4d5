from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.arm_state import ArmState
from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import Reservoir
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import PoolModel, build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import FloatArray
from bandit_router.core.replan import solve_price
from bandit_router.core.resources import Arm
from bandit_router.service import reservoirs
from bandit_router.service.models import ServedPool
from bandit_router.service.reservoirs import Reservoirs, Sample, build_reservoir
from tests.builders import FEW, LARGE, MEDIUM, PROPERTY, SMALL, generator, make_pool
from tests.unit.service.worlds import open_world

DIMENSION = 6


def served_pool(*arms: Arm) -> ServedPool:
    """A pool that has learned something of each of its arms."""
    source, state = generator(3), PoolState(DIMENSION)
    for arm in arms:
        learned = state.arms.setdefault(arm.arm_id, ArmState.empty(DIMENSION))
        for _ in range(20):
            context = source.normal(size=DIMENSION)
            learned.reward.add(context, float(source.uniform()))
            learned.tokens.add(context, float(source.uniform(3, 7)))
    model = build_model(state, [arm.arm_id for arm in arms], parse_learner("hierarchical"))
    return ServedPool(make_pool(), ArmTable.of(model, arms), parse_exploration("igw:tau=300"), revision=0)


def make_samples(seed: int, count: int, dimension: int = DIMENSION) -> list[Sample]:
    source = generator(seed)
    return [
        Sample(source.normal(size=dimension).astype(np.float32), int(source.integers(1, 500))) for _ in range(count)
    ]


def assert_same(found: Reservoir, expected: Reservoir) -> None:
    for name in ("rewards", "costs_usd", "expected_rewards", "deviations"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12, abs=1e-15)


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many contexts were predicted at each call, in order."""
    counts: list[int] = []
    predict = PoolModel.predict

    def counting(self: PoolModel, contexts: FloatArray) -> object:
        counts.append(len(contexts))
        return predict(self, contexts)

    monkeypatch.setattr(PoolModel, "predict", counting)
    return counts


@FEW
@given(st.integers(0, 10**6), st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_kept_predictions_make_the_reservoir_that_predicting_all_makes(seed: int, batches: list[int]) -> None:
    """And so the same price: what differs is last digits at most, and prices are on a grid."""
    served, kept = served_pool(SMALL, replace(MEDIUM, draining=True), LARGE), Reservoirs()
    recent = deque(make_samples(seed, 1), maxlen=30)
    for number, count in enumerate(batches):
        recent.extendleft(make_samples(seed + number + 1, count))
        found, expected = kept.of("acme", recent, served), build_reservoir(recent, served)
        assert_same(found, expected)
        found_price, expected_price = (
            solve_price(one, pace_usd=1e-3, weigh=lambda scores: served.weigher()(scores, scores))
            for one in (found, expected)
        )
        assert found_price == expected_price


def test_a_query_is_predicted_once_by_a_model(predicted: list[int]) -> None:
    served, kept, recent = served_pool(SMALL, LARGE), Reservoirs(), deque(make_samples(0, 20), maxlen=30)
    kept.of("acme", recent, served)
    recent.extendleft(make_samples(1, 7))
    kept.of("acme", recent, served)
    kept.of("acme", recent, served)
    recent.extendleft(make_samples(2, 40))
    kept.of("acme", recent, served)
    assert predicted == [20, 7, 30]


def test_another_model_other_arms_and_another_tenant_are_predicted_for_themselves(predicted: list[int]) -> None:
    served, dearer, kept, recent = served_pool(SMALL), served_pool(LARGE), Reservoirs(), make_samples(0, 20)
    kept.of("acme", recent, served)
    changed = kept.of("acme", recent, dearer)
    kept.of("other", recent, dearer)
    assert predicted == [20, 20, 20]
    assert_same(changed, build_reservoir(recent, dearer))


def test_queries_of_another_length_among_the_new_ones_are_left_out() -> None:
    served, kept = served_pool(SMALL, LARGE), Reservoirs()
    recent = deque(make_samples(0, 20))
    kept.of("acme", recent, served)
    recent.extendleft(make_samples(1, 2, dimension=DIMENSION - 1))
    assert_same(kept.of("acme", recent, served), build_reservoir(list(recent)[2:], served))


def test_a_tenant_that_is_forgotten_or_one_too_many_is_predicted_anew(
    predicted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservoirs, "MAX_KEPT", 2)
    served, kept, recent = served_pool(SMALL, LARGE), Reservoirs(), make_samples(0, 5)
    for tenant_id in ("a", "b", "c", "b", "c", "a"):
        kept.of(tenant_id, recent, served)
    kept.forget("a")
    kept.of("a", recent, served)
    assert predicted == [5] * 5


contexts = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=64)


@PROPERTY
@given(contexts, st.integers(0, 2**24))
def test_a_sample_is_read_back_as_it_was_written(context: list[float], prompt_tokens: int) -> None:
    sample = Sample(np.array(context, dtype=np.float32), prompt_tokens)
    found = Sample.unpack(sample.pack())
    assert (found.context == sample.context).all()
    assert found.prompt_tokens == prompt_tokens


async def test_the_reservoir_shows_live_arms_only() -> None:
    arms = [SMALL, replace(LARGE, draining=True), replace(LARGE, arm_id="off", enabled=False)]
    world = await open_world(arms=arms)
    served = await world.services.models.served("pool")
    reservoir = build_reservoir([Sample(np.ones(6, np.float32), 10)] * 3, served)
    assert reservoir.rewards.shape == reservoir.costs_usd.shape == (3, 1)


async def test_samples_of_another_context_length_are_left_out() -> None:
    served = await (await open_world()).services.models.served("pool")
    fitting, strange = Sample(np.ones(6, np.float32), 10), Sample(np.ones(5, np.float32), 10)
    assert build_reservoir([fitting, strange], served).rewards.shape == (1, 3)
    assert build_reservoir([strange], served).rewards.shape == (1, 3)
