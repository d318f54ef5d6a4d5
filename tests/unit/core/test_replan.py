from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.budget_policies.protocol import Reservoir
from bandit_router.core.explorations.igw import inverse_gap_weights
from bandit_router.core.regression import FloatArray
from bandit_router.core.replan import MAX_PRICE_PER_USD, solve_price
from tests.builders import PROPERTY, generator

GRID_STEP = 1.0011
Weigh = Callable[[FloatArray], FloatArray]


def weigher(tau: float) -> Weigh:
    return lambda scores: inverse_gap_weights(scores, tau)


def make_reservoir(seed: int, count: int = 64, arms: int = 4) -> Reservoir:
    """Dearer arms are better; costs are spread over three orders of magnitude."""
    source = generator(seed)
    scale = np.geomspace(1e-5, 1e-2, arms)
    costs = scale * source.uniform(0.5, 2.0, size=(count, arms))
    rewards = np.linspace(0.5, 0.9, arms) + 0.1 * source.normal(size=(count, arms))
    return Reservoir(rewards, costs, rewards, np.zeros_like(rewards))


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
