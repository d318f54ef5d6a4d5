"""How a world says what went wrong: the rule that was broken, what had just happened, and how to see it again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

DEFAULT_STEPS = 200
TAIL_LINES = 25


class Violation(Exception):
    """A checker found the product doing what it must never do. The message names the rule and the numbers."""


class WorldFailure(Exception):
    """A violation (or an unexpected error) with the seed and step at which it came, and the last events."""

    def __init__(self, *, seed: int, step: int, steps: int, what: str, tail: Sequence[str]) -> None:
        self.seed, self.step, self.steps, self.what, self.tail = seed, step, steps, what, tuple(tail)
        super().__init__(seed, step, steps, what, self.tail)

    @property
    def command(self) -> str:
        """The command that repeats this failure."""
        steps = "" if self.steps == DEFAULT_STEPS else f" --steps {self.steps}"
        return f"bandit-router-sim world --seed {self.seed}{steps}"

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.seed, self.step, self.steps, self.what, self.tail)

    def __str__(self) -> str:
        lines = "\n".join(f"  {line}" for line in self.tail)
        return (
            f"seed {self.seed}, step {self.step}: {self.what}\n"
            f"repeat with: {self.command}\nlast events:\n{lines or '  none'}"
        )


def _restore(seed: int, step: int, steps: int, what: str, tail: Sequence[str]) -> WorldFailure:
    return WorldFailure(seed=seed, step=step, steps=steps, what=what, tail=tail)


class Trace:
    """Everything that happened, a line an event: the same seed gives the same bytes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Append an event."""
        self.lines.append(line)

    def tail(self) -> Sequence[str]:
        """The latest events, oldest first."""
        return self.lines[-TAIL_LINES:]

    def digest(self) -> str:
        """A short name of the whole trace."""
        return blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()
