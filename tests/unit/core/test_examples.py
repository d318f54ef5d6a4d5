from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.examples import Example, Examples
from tests.builders import PROPERTY, THOROUGH, generator


def make_example(number: int, reward: float | None = 0.5) -> Example:
    """Two decisions of the same millisecond are told apart by their ids."""
    return Example(f"d{number:04}", "a", number // 2, np.full(3, number, dtype=np.float32), reward)


def told(examples: Examples) -> list[tuple[str, float | None]]:
    return [(example.decision_id, example.reward) for example in examples.all()]


@PROPERTY
@given(st.lists(st.integers(0, 40), unique=True), st.integers(0, 20))
def test_the_decisions_made_last_are_remembered_in_order(numbers: list[int], capacity: int) -> None:
    examples = Examples(capacity, [make_example(number) for number in numbers])
    expected = sorted(numbers)[len(numbers) - min(capacity, len(numbers)) :]
    assert [decision_id for decision_id, _ in told(examples)] == [f"d{number:04}" for number in expected]
    assert len(examples) == len(expected)


reports = st.lists(st.tuples(st.integers(0, 12), st.none() | st.sampled_from([0.1, 0.6])), max_size=40)


@THOROUGH
@given(reports, st.integers(1, 8), st.integers(0, 10**6))
def test_what_is_remembered_depends_on_the_latest_reports_alone_and_not_on_their_order(
    found: list[tuple[int, float | None]], capacity: int, seed: int
) -> None:
    """Reports of one decision keep their order, those of different decisions come in any."""
    straight = Examples(capacity, [make_example(*report) for report in found])
    latest = dict(found)
    once = [make_example(*report) for report in latest.items()]
    shuffled = Examples(capacity, [once[index] for index in generator(seed).permutation(len(once))])
    assert told(shuffled) == told(straight)


def test_a_retracted_reward_leaves_its_place_and_nothing_else() -> None:
    examples = Examples(5, [make_example(1), make_example(2), make_example(1, None)])
    assert [example.decision_id for example in examples.rewarded()] == ["d0002"]
    assert len(examples) == 2


def test_a_copy_is_independent() -> None:
    examples = Examples(3, [make_example(1)])
    twin = examples.copy()
    twin.put(make_example(2))
    twin.resize(1)
    assert told(examples) == [("d0001", 0.5)]
    assert (examples.capacity, told(twin)) == (3, [("d0002", 0.5)])


def test_no_capacity_remembers_nothing() -> None:
    assert len(Examples(0, [make_example(1)])) == 0
