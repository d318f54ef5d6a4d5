from __future__ import annotations

import pytest

from bandit_router.core.budget_policies.horizon import calls_left


@pytest.mark.parametrize(
    ("expected_calls", "decisions", "elapsed_ms", "remaining_ms", "left"),
    [
        (1000, 0, 0, None, 1000.0),
        (1000, 400, 5, 5, 600.0),
        (1000, 999, 5, 5, 1.0),
        (1000, 1000, 10, None, 1000.0),
        (1000, 5000, 10, None, 5000.0),
        (1000, 5000, 3_600_000, 1_800_000, 2500.0),
        (0, 0, 10, None, 100.0),
        (0, 5000, 10, None, 5000.0),
        (0, 1000, 3_600_000, 7_200_000, 2000.0),
        (0, 10, 3_600_000, 7_200_000, 200.0),
        (0, 1000, 3_600_000, 0, 1.0),
        (0, 1000, 0, 7_200_000, 1000.0),
        (0, 1000, None, 7_200_000, 1000.0),
    ],
)
def test_the_calls_left_are_declared_extrapolated_or_assumed(
    expected_calls: int, decisions: int, elapsed_ms: int | None, remaining_ms: int | None, left: float
) -> None:
    found = calls_left(
        expected_calls=expected_calls, decisions=decisions, elapsed_ms=elapsed_ms, remaining_ms=remaining_ms
    )
    assert found == left
