"""What the services tell about themselves: numbers for metrics, facts for logs. Never prompts."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Receives counts, durations and levels, and notable facts. Must not raise and must not block."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Record a duration."""
        ...

    def level(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def note(self, event: str, **facts: object) -> None:
        """Log a fact worth a line."""
        ...
