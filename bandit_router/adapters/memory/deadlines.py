"""Decisions by deadline, earliest first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from bandit_router.ports.ledger import DueDecision

_Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class Deadlines:
    """Deadlines by (tenant id, decision id). What was dropped or moved is left in the queue until it comes up."""

    _by_key: dict[_Key, int] = field(default_factory=dict)
    _queue: list[tuple[int, _Key]] = field(default_factory=list)

    def put(self, key: _Key, deadline_ms: int | None) -> None:
        """Set the decision's deadline; None: it has none, or none any more."""
        if deadline_ms is None:
            self._by_key.pop(key, None)
        elif self._by_key.get(key) != deadline_ms:
            self._by_key[key] = deadline_ms
            heapq.heappush(self._queue, (deadline_ms, key))

    def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """At most `limit` decisions whose deadline has passed, earliest first; they stay."""
        found: dict[_Key, int] = {}
        while self._queue and self._queue[0][0] <= now_ms and len(found) < limit:
            deadline_ms, key = heapq.heappop(self._queue)
            if self._by_key.get(key) == deadline_ms:
                found[key] = deadline_ms
        for key, deadline_ms in found.items():
            heapq.heappush(self._queue, (deadline_ms, key))
        return [DueDecision(*key, deadline_ms) for key, deadline_ms in found.items()]

    def tidy(self) -> None:
        """Let go of the front of the queue, if it is not there any more."""
        if self._queue and self._by_key.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)
