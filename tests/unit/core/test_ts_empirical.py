from __future__ import annotations

import math

import numpy as np
import pytest

from bandit_router.core.choice import weigh_round
from bandit_router.core.explorations.normals import batch_normals, keyed_normals
from bandit_router.core.explorations.registry import Exploration, parse_exploration
from bandit_router.core.spec import SpecError
from tests.builders import make_quote, make_quotes

MEANS, DEVIATIONS = np.array([0.5, 0.6]), np.array([0.1, 0.2])
FIRST_BEST = 0.5 * math.erfc((0.6 - 0.5) / math.hypot(0.1, 0.2) / math.sqrt(2.0))
"""P(X₀ > X₁) for independent normals with these means and deviations."""


def test_frequencies_approach_the_probability_of_being_the_best() -> None:
    layer = Exploration("ts_empirical", 1_000.0)
    found = np.mean([layer.weigh(MEANS, DEVIATIONS, keyed_normals(1, f"r{i}", arms=2)) for i in range(40)], axis=0)
    assert found == pytest.approx([FIRST_BEST, 1.0 - FIRST_BEST], abs=0.01)


def test_many_queries_at_once_come_out_alike_on_average() -> None:
    layer = Exploration("ts_empirical", 64.0)
    found = layer.weigh(np.tile(MEANS, (256, 1)), np.tile(DEVIATIONS, (256, 1)), batch_normals(256, 2))
    assert found.mean(axis=0) == pytest.approx([FIRST_BEST, 1.0 - FIRST_BEST], abs=0.02)


def test_without_uncertainty_the_best_arm_gets_all_but_the_floor() -> None:
    found = parse_exploration("ts_empirical:floor=0.2").weigh(MEANS, np.zeros(2), keyed_normals(1, "r", arms=2))
    assert found == pytest.approx([0.1, 0.9])


def test_a_later_draw_over_fewer_arms_has_the_same_samples() -> None:
    """An arm that beats all others in a sample also beats those that are left."""
    quotes = make_quotes(*[make_quote(f"a{i}", score=0.5 + 0.01 * i, uncertainty=0.05) for i in range(4)])
    layer = Exploration("ts_empirical", 64.0)
    whole = weigh_round(quotes, (0, 1, 2, 3), layer, seed=3, key="r")
    fewer = weigh_round(quotes, (0, 2), layer, seed=3, key="r")
    assert fewer.probability_of(0) >= whole.probability_of(0)
    assert fewer.probability_of(2) >= whole.probability_of(2)
    assert fewer == weigh_round(quotes, (0, 2), layer, seed=3, key="r")
    assert fewer != weigh_round(quotes, (0, 2), layer, seed=3, key="other")


@pytest.mark.parametrize(
    "text",
    ["ts_empirical:samples=0", "ts_empirical:samples=2.5", "ts_empirical:samples=1001", "ts_empirical:floor=0"],
)
def test_sampling_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_exploration(text)
