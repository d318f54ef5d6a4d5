from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bandit_router.adapters.memory.deadlines import Deadlines
from bandit_router.ports.ledger import DueDecision
from tests.builders import PROPERTY

moves = st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 9)), max_size=20)


def expected(known: dict[str, int], now_ms: int, limit: int) -> list[tuple[int, str]]:
    return sorted((deadline_ms, name) for name, deadline_ms in known.items() if deadline_ms <= now_ms)[:limit]


@PROPERTY
@given(moves, st.integers(0, 9), st.integers(1, 4))
def test_the_earliest_that_are_due_are_told_as_often_as_asked(
    steps: list[tuple[str, int | None]], now_ms: int, limit: int
) -> None:
    deadlines, known = Deadlines(), dict[str, int]()
    for name, deadline_ms in steps:
        deadlines.put(("t", name), deadline_ms)
        known.pop(name, None)
        if deadline_ms is not None:
            known[name] = deadline_ms
        deadlines.tidy()
        for _ in range(2):
            found = deadlines.due(now_ms, limit)
            assert found == [DueDecision("t", name, due_ms) for due_ms, name in expected(known, now_ms, limit)]
