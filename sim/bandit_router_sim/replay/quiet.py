"""An observer for runs whose results are looked at afterwards."""

from __future__ import annotations

from collections import Counter


class QuietObserver:
    """Keeps counts and facts, writes nothing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[tuple[str, dict[str, object]]] = []

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:  # noqa: ARG002 - labels are not kept
        """Add to the counter of that name."""
        self.counts[name] += int(amount)

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Durations of a virtual clock mean nothing."""

    def level(self, name: str, value: float, **labels: str) -> None:
        """Levels are read from the stores instead."""

    def note(self, event: str, **facts: object) -> None:
        """Keep a fact."""
        self.notes.append((event, facts))
