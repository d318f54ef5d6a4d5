from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.budget_policies.protocol import Holds, Reservoir, Standing, Weigh
from bandit_router.core.endgame import LEAST_QUERIES, price_to_the_end
from bandit_router.core.explorations.igw import inverse_gap_weights
from bandit_router.core.money import usd_to_nusd
from bandit_router.core.regression import FloatArray
from tests.builders import generator

TAU = 10_000.0
CALLS = 2_000
LIMIT_USD = 1.2
HOLDS_USD = (0.0002, 0.005, 0.16)
"""Worst cases: of the cheapest arm, of one in the middle, and of the dearest, a seventh of the limit."""


def weigh(scores: FloatArray, _deviations: FloatArray) -> FloatArray:
    return inverse_gap_weights(scores, TAU)


def weigher(_arms: tuple[int, ...]) -> Weigh:
    return weigh


def queries(seed: int, count: int) -> Reservoir:
    """The dearest arm is worth .02 more than the middle one on the mean, which is worth .1 more than the cheapest."""
    source = generator(seed)
    rewards = np.array([0.8, 0.9, 0.92]) + np.array([0.0, 0.02, 0.03]) * source.normal(size=(count, 3))
    costs = np.array([3e-5, 3e-4, 1e-2]) * source.uniform(0.5, 1.5, size=(count, 3))
    return Reservoir(rewards, costs, rewards, np.zeros_like(rewards))


def standing(
    spent_usd: float = 0.0,
    decisions: int = 0,
    *,
    limit_usd: float = LIMIT_USD,
    holds_usd: tuple[float, ...] | None = HOLDS_USD,
    pace_above_usd: float = float("inf"),
    seen: int = 256,
) -> Standing:
    return Standing(
        limit_nusd=usd_to_nusd(limit_usd),
        committed_nusd=usd_to_nusd(spent_usd),
        decisions=decisions,
        calls_left=float(CALLS - decisions),
        snapshot_version=1,
        reservoir=lambda: queries(0, seen),
        weigh=weigh,
        pace_above_usd=pace_above_usd,
        holds=None if holds_usd is None else lambda: Holds(np.array(holds_usd), weigher),
    )


def end_price(asked: Standing, *, hint: float) -> float:
    return price_to_the_end(asked, hint=hint).price


def window(*, plans: bool) -> tuple[float, float]:
    """Share of the limit spent and mean reward of a window of CALLS calls; an arm is called only if its hold fits."""
    calls, random = queries(1, CALLS), generator(2)
    spent, earned, price = 0.0, 0.0, 0.0
    for number in range(CALLS):
        if number % 20 == 0:
            price = end_price(standing(spent, number, holds_usd=HOLDS_USD if plans else None), hint=price)
        scores = calls.rewards[number] - price * calls.costs_usd[number]
        scores[np.array(HOLDS_USD) > LIMIT_USD - spent] = -np.inf
        arm = random.choice(3, p=weigh(scores[None, :], scores[None, :])[0])
        spent += calls.costs_usd[number, arm]
        earned += calls.rewards[number, arm]
    return spent / LIMIT_USD, earned / CALLS


def test_a_window_with_a_large_hold_spends_its_money_without_earning_less() -> None:
    used, reward = window(plans=True)
    used_evenly, reward_evenly = window(plans=False)

    assert used_evenly < 0.95
    assert 0.97 <= used <= 1.0
    assert reward > reward_evenly - 0.0005


def test_small_holds_change_nothing() -> None:
    small = tuple(hold / 100 for hold in HOLDS_USD)

    assert end_price(standing(holds_usd=small), hint=0.0) == end_price(standing(holds_usd=None), hint=0.0)


def test_an_arm_whose_hold_is_more_than_what_is_left_is_not_reckoned_with() -> None:
    late = {"spent_usd": LIMIT_USD - 0.1, "decisions": CALLS - 200}

    assert end_price(standing(**late, holds_usd=None), hint=0.0) > 0.0
    assert end_price(standing(**late), hint=0.0) == 0.0


def test_where_no_hold_fits_all_arms_are_reckoned_with() -> None:
    none_fits = standing(holds_usd=(2.0, 2.0, 2.0))

    assert end_price(none_fits, hint=0.0) == end_price(standing(holds_usd=None), hint=0.0)


def test_nothing_is_planned_where_the_other_arms_can_spend_all_money() -> None:
    tight = {"limit_usd": 0.4}

    assert end_price(standing(**tight), hint=0.0) == end_price(standing(**tight, holds_usd=None), hint=0.0)


def test_nothing_is_planned_where_the_other_arms_would_take_most_of_the_window_for_the_end() -> None:
    rich, holds_usd = 3.0, (0.0002, 0.005, 0.5)

    found = end_price(standing(limit_usd=rich, holds_usd=holds_usd), hint=0.0)

    assert found == end_price(standing(limit_usd=rich, holds_usd=None), hint=0.0)


def test_nothing_is_planned_before_enough_queries_have_been_seen() -> None:
    few = LEAST_QUERIES - 1

    assert end_price(standing(seen=few), hint=0.0) == end_price(standing(seen=few, holds_usd=None), hint=0.0)
    assert end_price(standing(), hint=0.0) < end_price(standing(holds_usd=None), hint=0.0)


def test_nothing_is_planned_where_no_cheaper_arm_could_take_over_at_the_end() -> None:
    def asked(holds_usd: tuple[float, float] | None) -> float:
        def reservoir() -> Reservoir:
            return queries(0, 256).of_arms((1, 2))

        two = Standing(
            usd_to_nusd(LIMIT_USD),
            0,
            0,
            float(CALLS),
            1,
            reservoir,
            weigh,
            holds=None if holds_usd is None else lambda: Holds(np.array(holds_usd), weigher),
        )
        return end_price(two, hint=0.0)

    assert asked((0.005, 0.16)) == asked(None)


def asked_of(reservoir: Reservoir, **changes: object) -> tuple[float, float]:
    """The price over these queries, and that at an even pace."""
    found, even = standing(**changes), standing(**{**changes, "holds_usd": None})
    return tuple(end_price(replace(asked, reservoir=lambda: reservoir), hint=0.0) for asked in (found, even))


def test_calls_that_earn_more_than_those_at_the_end_are_not_hurried() -> None:
    """Net of what their cost is worth: by .0006 with the smaller limit, by .006 with the larger one."""
    even_paced = {}
    for limit_usd in (3.0, 6.0):
        price, even = asked_of(queries(0, 256), limit_usd=limit_usd, holds_usd=(0.0002, 0.005, 0.2))
        even_paced[limit_usd] = price == even
    assert even_paced == {3.0: False, 6.0: True}


def test_the_money_but_the_largest_hold_is_spread_over_the_calls_before_the_end() -> None:
    drawn = []

    def among(arms: tuple[int, ...]) -> Weigh:
        drawn.append(arms)
        return weigh

    found, seen = standing(), queries(0, 256)
    price = end_price(replace(found, holds=lambda: Holds(np.array(HOLDS_USD), among)), hint=0.0)

    others = seen.of_arms((0, 1))
    cost_usd = float((weigh(others.rewards, others.deviations) * others.costs_usd).sum(axis=1).mean())
    calls = CALLS - (HOLDS_USD[2] - seen.costs_usd[:, 2].mean()) / cost_usd
    pace_usd = (LIMIT_USD - HOLDS_USD[2]) / calls
    assert price == pytest.approx(end_price(standing(limit_usd=pace_usd * CALLS, holds_usd=None), hint=0.0), rel=2e-3)
    assert drawn == [(0, 1)]


def test_an_arm_whose_hold_is_nearly_the_largest_is_none_of_those_that_the_end_is_left_to() -> None:
    price, even = asked_of(queries(0, 256), holds_usd=(0.0002, 0.1, 0.16))

    assert price == even


def test_the_planned_pace_is_never_less_than_the_even_one() -> None:
    """With little more left than a hold, of which a call takes a good part."""
    found = queries(0, 256)
    found.costs_usd[:, 2] *= 10.0

    price, even = asked_of(found, spent_usd=LIMIT_USD - 0.161, decisions=CALLS - 280)

    assert price == even


def test_where_the_organisation_has_less_its_pace_holds() -> None:
    pace_usd = 0.5 * LIMIT_USD / CALLS

    found = end_price(standing(pace_above_usd=pace_usd), hint=0.0)

    assert found == end_price(standing(pace_above_usd=pace_usd, holds_usd=None), hint=0.0)


def test_no_planned_pace_is_more_than_what_the_organisation_has() -> None:
    pace_usd = 1.05 * LIMIT_USD / CALLS
    bound = standing(pace_above_usd=pace_usd, limit_usd=100.0, holds_usd=None)

    found = end_price(standing(pace_above_usd=pace_usd), hint=0.0)

    assert found == end_price(bound, hint=0.0) > end_price(standing(), hint=0.0)


def test_the_planned_pace_is_never_more_than_half_as_much_again_as_the_even_one() -> None:
    late = {"spent_usd": LIMIT_USD - 0.17, "decisions": CALLS - 220}
    hasty = standing(LIMIT_USD - 0.17, CALLS - 220, holds_usd=None)
    bound = standing(pace_above_usd=1.5 * hasty.own_pace_usd, limit_usd=100.0, holds_usd=None)

    found = end_price(standing(**late), hint=0.0)

    assert found < end_price(hasty, hint=0.0)
    assert found >= 0.999 * end_price(bound, hint=0.0)
