from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.draw import pick, uniform
from tests.builders import PROPERTY, SMALLEST_P_VALUE, chi_square_p_value

seeds = st.integers(-(2**63), 2**63 - 1)
weights = st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda ws: sum(ws) > 1e-6)


@PROPERTY
@given(seeds, st.text(), st.integers(0, 20))
def test_a_draw_is_a_number_from_zero_up_to_but_not_one(seed: int, key: str, draw: int) -> None:
    assert 0.0 <= uniform(seed, key, draw) < 1.0


@PROPERTY
@given(seeds, st.text(), st.integers(0, 20))
def test_the_same_names_give_the_same_number(seed: int, key: str, draw: int) -> None:
    assert uniform(seed, key, draw) == uniform(seed, key, draw)


def test_seed_key_and_round_each_make_another_number() -> None:
    numbers = {uniform(seed, key, draw) for seed in (-1, 0, 1) for key in ("a", "b", "1:a") for draw in (0, 1, 11)}
    assert len(numbers) == 27


def test_numbers_are_pinned_so_that_old_logs_replay() -> None:
    assert uniform(0, "request-1") == 0.20999925454115098
    assert uniform(-7, "request-1", 1) == 0.076249856013481


@pytest.mark.parametrize("cells", [2, 10, 64])
def test_draws_over_consecutive_keys_are_uniform(cells: int) -> None:
    numbers = [uniform(3, f"request-{index}") for index in range(20_000)]
    counts = np.bincount((np.array(numbers) * cells).astype(int), minlength=cells)
    assert chi_square_p_value(counts.tolist(), [1 / cells] * cells) > SMALLEST_P_VALUE


def test_the_rounds_of_one_request_are_independent() -> None:
    pairs = [(uniform(3, f"r{i}", 0) < 0.5, uniform(3, f"r{i}", 1) < 0.5) for i in range(20_000)]
    counts = [pairs.count((a, b)) for a in (True, False) for b in (True, False)]
    assert chi_square_p_value(counts, [0.25] * 4) > SMALLEST_P_VALUE


@PROPERTY
@given(weights, st.floats(0, 1, exclude_max=True))
def test_an_arm_of_probability_zero_is_never_picked(raw: list[float], draw: float) -> None:
    probabilities = [w / sum(raw) for w in raw]
    assert probabilities[pick(probabilities, draw)] > 0.0


@PROPERTY
@given(weights, st.floats(0, 1, exclude_max=True))
def test_the_pick_is_where_the_cumulative_probability_passes_the_draw(raw: list[float], draw: float) -> None:
    probabilities = [w / sum(raw) for w in raw]
    index = pick(probabilities, draw)
    below, upto = sum(probabilities[:index]), sum(probabilities[: index + 1])
    assert below <= draw + 1e-12
    assert draw < upto + 1e-12


def test_rounding_of_the_sum_leaves_the_last_possible_arm() -> None:
    assert pick([0.3, 0.3, 0.3, 0.0], 0.95) == 2


@pytest.mark.parametrize("probabilities", [(0.5, 0.5), (0.01, 0.0, 0.9, 0.09), (1.0,), (0.001, 0.999)])
def test_picked_arms_come_as_often_as_their_probabilities_say(probabilities: tuple[float, ...]) -> None:
    picks = [pick(probabilities, uniform(11, f"r{index}")) for index in range(20_000)]
    counts = np.bincount(picks, minlength=len(probabilities)).tolist()
    assert chi_square_p_value(counts, probabilities) > SMALLEST_P_VALUE
