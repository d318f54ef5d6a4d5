"""The latest examples of a pool: context and reward of single decisions, for learners that sums do not suffice.

At most `capacity` of them, those of the decisions made last. A decision's place is kept also when its reward has been
retracted (an example without reward), so which decisions are remembered depends on nothing but which have ever been
rewarded: not on the order of their feedback, nor on how it was batched, corrected or retracted.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One decision: its context (d,) in float32 as it was scored, and its reward; None: retracted."""

    decision_id: str
    arm_id: str
    decided_ms: int
    context: npt.NDArray[np.float32]
    reward: float | None

    @property
    def place(self) -> tuple[int, str]:
        """Earlier decisions have smaller places; no two have the same."""
        return self.decided_ms, self.decision_id


class Examples:
    """A bounded set of examples by decision id. `capacity` 0 remembers nothing."""

    __slots__ = ("_by_id", "_places", "capacity")

    def __init__(self, capacity: int = 0, examples: Iterable[Example] = ()) -> None:
        self.capacity = capacity
        self._by_id: dict[str, Example] = {}
        self._places: list[tuple[int, str]] = []
        for example in examples:
            self.put(example)

    def __len__(self) -> int:
        return len(self._by_id)

    def put(self, example: Example) -> None:
        """Remember the example in the place of what was known of its decision; the earliest beyond capacity is lost."""
        if example.decision_id not in self._by_id:
            insort(self._places, example.place)
        self._by_id[example.decision_id] = example
        self._shrink()

    def resize(self, capacity: int) -> None:
        """Remember at most so many from now on."""
        self.capacity = capacity
        self._shrink()

    def all(self) -> list[Example]:
        """What is remembered, in the order in which it was decided, retracted rewards included."""
        return [self._by_id[decision_id] for _, decision_id in self._places]

    def rewarded(self) -> list[Example]:
        """The examples that have a reward, in the order in which they were decided."""
        return [example for example in self.all() if example.reward is not None]

    def copy(self) -> Examples:
        """An independent copy."""
        twin = Examples(self.capacity)
        twin._by_id, twin._places = dict(self._by_id), list(self._places)
        return twin

    def _shrink(self) -> None:
        excess = len(self._places) - self.capacity
        for _, decision_id in self._places[:excess] if excess > 0 else ():
            del self._by_id[decision_id]
        if excess > 0:
            del self._places[:excess]
