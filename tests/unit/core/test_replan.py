from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.budget_policies.protocol import Reservoir
from bandit_router.core.explorations.igw import inverse_gap_weights
from bandit_router.core.explorations.normals import batch_normals
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.regression import FloatArray
from bandit_router.core.replan import MAX_PRICE_PER_USD, MIN_PRICE_PER_USD, solve_price
from tests.builders import PROPERTY, generator

STEPS_PER_E = 1_000
GRID_STEP = math.exp(1.1 / STEPS_PER_E)
LAST_STEP = math.ceil(STEPS_PER_E * math.log(MAX_PRICE_PER_USD / MIN_PRICE_PER_USD))
MANY_RESERVOIRS = 200
Weigh = Callable[[FloatArray], FloatArray]


def weigher(tau: float) -> Weigh:
    return lambda scores: inverse_gap_weights(scores, tau)


def make_reservoir(seed: int, count: int = 64, arms: int = 4) -> Reservoir:
    """Dearer arms are better; costs are spread over three orders of magnitude."""
    source = generator(seed)
    scale = np.geomspace(1e-5, 1e-2, arms)
    costs = scale * source.uniform(0.5, 2.0, size=(count, arms))
    rewards = np.linspace(0.5, 0.9, arms) + 0.1 * source.normal(size=(count, arms))
    return Reservoir(rewards, costs, rewards, np.full_like(rewards, 0.05))


def mean_cost_usd(reservoir: Reservoir, price_per_usd: float, weigh: Weigh) -> float:
    shares = weigh(reservoir.rewards - price_per_usd * reservoir.costs_usd)
    return float((shares * reservoir.costs_usd).sum(axis=1).mean())


reservoirs = st.builds(make_reservoir, st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 6))
weighers = st.sampled_from([10.0, 100.0, 1500.0]).map(weigher)
shares = st.floats(0.001, 0.999)


def pace_between(reservoir: Reservoir, weigh: Weigh, share: float) -> float:
    """A pace between what is cheapest and what would be spent at no price."""
    low, high = mean_cost_usd(reservoir, MAX_PRICE_PER_USD, weigh), mean_cost_usd(reservoir, 0.0, weigh)
    return low + share * (high - low)


@PROPERTY
@given(reservoirs, weighers, shares)
def test_the_mean_cost_at_the_price_is_the_pace_within_a_grid_step(
    reservoir: Reservoir, weigh: Weigh, share: float
) -> None:
    pace_usd = pace_between(reservoir, weigh, share)
    price = solve_price(reservoir, pace_usd=pace_usd, weigh=weigh)
    if 0.0 < price < MAX_PRICE_PER_USD:
        assert mean_cost_usd(reservoir, price, weigh) <= pace_usd * (1 + 1e-12)
        assert mean_cost_usd(reservoir, price / GRID_STEP, weigh) > pace_usd or price <= 1e-3


@PROPERTY
@given(reservoirs, weighers, shares, shares)
def test_a_higher_pace_never_has_a_higher_price(reservoir: Reservoir, weigh: Weigh, one: float, other: float) -> None:
    low, high = sorted([pace_between(reservoir, weigh, one), pace_between(reservoir, weigh, other)])
    assert solve_price(reservoir, pace_usd=low, weigh=weigh) >= solve_price(reservoir, pace_usd=high, weigh=weigh)


@PROPERTY
@given(reservoirs, weighers, shares, st.floats(-25, 25))
def test_the_price_does_not_depend_on_where_the_search_began(
    reservoir: Reservoir, weigh: Weigh, share: float, distance: float
) -> None:
    pace_usd = pace_between(reservoir, weigh, share)
    alone = solve_price(reservoir, pace_usd=pace_usd, weigh=weigh)
    for hint in (math.exp(distance), alone * math.exp(distance), alone * math.exp(distance / 100), alone):
        assert solve_price(reservoir, pace_usd=pace_usd, weigh=weigh, hint=hint) == alone


def layer_of(spec: str, reservoir: Reservoir) -> Weigh:
    layer = parse_exploration(spec)
    return lambda scores: layer.weigh(scores, reservoir.deviations, batch_normals(*scores.shape))


def by_bisection(reservoir: Reservoir, pace_usd: float, weigh: Weigh) -> float:
    """The definition: the first affordable price of the grid; 0 if none is needed, the last if none suffices."""
    if mean_cost_usd(reservoir, 0.0, weigh) <= pace_usd:
        return 0.0
    low, high = -1, LAST_STEP
    while high - low > 1:
        middle = (low + high) // 2
        if mean_cost_usd(reservoir, grid_price(middle), weigh) <= pace_usd:
            high = middle
        else:
            low = middle
    return grid_price(high)


def grid_price(step: int) -> float:
    return min(MAX_PRICE_PER_USD, MIN_PRICE_PER_USD * math.exp(step / STEPS_PER_E))


@pytest.mark.parametrize("spec", ["igw:tau=100", "igw", "softmax", "epsilon_floor", "ts_empirical:samples=16"])
def test_the_price_is_the_grid_step_that_plain_bisection_finds(spec: str) -> None:
    """Also where the mean cost falls in jumps, and from hints near, far, at either end and beyond."""
    source, priced = generator(11), 0
    for number in range(MANY_RESERVOIRS):
        reservoir = make_reservoir(number, count=int(source.integers(1, 80)), arms=int(source.integers(2, 9)))
        weigh = layer_of(spec, reservoir)
        pace_usd = pace_between(reservoir, weigh, source.uniform(-0.1, 1.1))
        price = by_bisection(reservoir, pace_usd, weigh)
        near, far = price * math.exp(0.05 * source.normal()), math.exp(source.uniform(-8.0, 17.0))
        for hint in (near, far, 0.0, float(source.choice([price, MIN_PRICE_PER_USD * 1.001, MAX_PRICE_PER_USD]))):
            assert solve_price(reservoir, pace_usd=pace_usd, weigh=weigh, hint=hint) == price
        priced += 0.0 < price < MAX_PRICE_PER_USD
    assert priced > MANY_RESERVOIRS / 2


def test_a_price_near_the_last_one_takes_few_evaluations_of_the_layer() -> None:
    counts = []
    for number in range(100):
        reservoir, evaluations = make_reservoir(number, count=256, arms=8), 0

        def weigh(scores: FloatArray) -> FloatArray:
            nonlocal evaluations
            evaluations += 1
            return inverse_gap_weights(scores, 1500.0)

        pace_usd = pace_between(reservoir, weigh, 0.3)
        hint = 1.03 * solve_price(reservoir, pace_usd=pace_usd, weigh=weigh)
        evaluations = 0
        solve_price(reservoir, pace_usd=pace_usd, weigh=weigh, hint=hint)
        counts.append(evaluations)
    assert sum(counts) / len(counts) < 7
    assert max(counts) < 2 * math.log2(LAST_STEP)


@PROPERTY
@given(reservoirs, weighers)
def test_what_is_affordable_at_no_price_is_free(reservoir: Reservoir, weigh: Weigh) -> None:
    pace_usd = mean_cost_usd(reservoir, 0.0, weigh) * 1.001
    assert solve_price(reservoir, pace_usd=pace_usd, weigh=weigh, hint=50.0) == 0.0


@PROPERTY
@given(reservoirs, weighers)
def test_what_no_price_makes_affordable_has_the_highest(reservoir: Reservoir, weigh: Weigh) -> None:
    cheapest_usd = float(reservoir.costs_usd.min())
    assert solve_price(reservoir, pace_usd=0.5 * cheapest_usd, weigh=weigh) == MAX_PRICE_PER_USD
    assert solve_price(reservoir, pace_usd=0.0, weigh=weigh) == MAX_PRICE_PER_USD


@PROPERTY
@given(reservoirs, weighers, st.floats(0, 1e4), st.floats(1, 100))
def test_the_mean_cost_falls_as_the_price_rises(
    reservoir: Reservoir, weigh: Weigh, price: float, factor: float
) -> None:
    dearer = mean_cost_usd(reservoir, price * factor, weigh)
    assert dearer <= mean_cost_usd(reservoir, price, weigh) * (1 + 1e-9)


def test_arms_that_cost_nothing_have_no_price() -> None:
    rewards = np.array([[0.5, 0.6]])
    free = Reservoir(rewards, np.zeros((1, 2)), rewards, np.zeros((1, 2)))
    assert solve_price(free, pace_usd=0.0, weigh=weigher(100.0)) == 0.0
