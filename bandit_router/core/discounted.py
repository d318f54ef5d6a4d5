"""Sums of rewards in which the past fades: what D-LinUCB (Russac, Vernade and Cappé, 2019) learns from.

    G = Σ γ^age xxᵀ     m = Σ γ^age y x     G̃ = Σ γ^(2 age) xxᵀ

An outcome's age is how many rewards the pool has learned between the decision's snapshot and the newest one that a
decision was made from, rewarded or not. As in `core.recent` it depends on no clock, folding stays independent of order
and batching, and a correction or retraction takes back exactly what it replaces, up to rounding.

The sums are kept only where a learner asks for them, and only for its γ. A pool that goes on with another γ, or asks
for the first time, begins them with what its whole sums hold then: every outcome of a decision made up to that moment
counts as of that moment (`floor`), at `past` ≤ 1 each, such that together they weigh no more than 1 / (1 − γ)
outcomes, as many as the pool remembers in the long run. As all of these outcomes weigh the same, whenever they come,
their corrections are exact as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bandit_router.core.arm_state import Arms
from bandit_router.core.regression import FloatArray

KEEPS_NOTHING = 0.0
"""In the place of γ: no discounted sums are kept."""


@dataclass(slots=True, eq=False)
class ArmDiscounted:
    """Sums of one arm: G (d, d), m (d,), G̃ (d, d) and Σ γ^age."""

    gram: FloatArray
    moment: FloatArray
    square_gram: FloatArray
    weight: float = 0.0

    @classmethod
    def zeros(cls, dimension: int) -> ArmDiscounted:
        """No outcomes yet."""
        return cls(np.zeros((dimension, dimension)), np.zeros(dimension), np.zeros((dimension, dimension)))

    def copy(self) -> ArmDiscounted:
        """An independent copy."""
        return ArmDiscounted(self.gram.copy(), self.moment.copy(), self.square_gram.copy(), self.weight)

    def fade(self, factor: float) -> None:
        """Let every outcome count for so much of what it did."""
        self.gram *= factor
        self.moment *= factor
        self.square_gram *= factor * factor
        self.weight *= factor

    def subtract(self, other: ArmDiscounted) -> None:
        """Take back all outcomes of `other`, which is stated at the same time."""
        self.gram -= other.gram
        self.moment -= other.moment
        self.square_gram -= other.square_gram
        self.weight -= other.weight


@dataclass(slots=True, eq=False)
class Discounted:
    """The discounted sums of a pool's arms, or of a tenant's; `clock`: the logical time that they are stated at."""

    gamma: float = KEEPS_NOTHING
    clock: int = 0
    floor: int = 0
    past: float = 1.0
    arms: dict[str, ArmDiscounted] = field(default_factory=dict)

    def copy(self) -> Discounted:
        """An independent copy."""
        arms = {arm_id: sums.copy() for arm_id, sums in self.arms.items()}
        return Discounted(self.gamma, self.clock, self.floor, self.past, arms)

    def with_arms(self, arms: Arms) -> Discounted:
        """Sums that begin where these did, of the outcomes that `arms` holds."""
        found = {}
        for arm_id, arm in arms.items():
            gram, moment = self.past * arm.reward.gram, self.past * arm.reward.moment
            found[arm_id] = ArmDiscounted(gram, moment, self.past * gram, self.past * arm.reward.count)
        return Discounted(self.gamma, self.floor, self.floor, self.past, found)

    def at(self, clock: int) -> Discounted:
        """A copy stated at this logical time, or at its own if that is later."""
        later = self.copy()
        later.advance(clock)
        return later

    def replace(self, arm_id: str, x: FloatArray, *, learned: int, old: float | None, new: float | None) -> None:
        """Take `old` back and `new` in: rewards of a decision made when the pool had learned `learned` rewards."""
        if self.gamma == KEEPS_NOTHING:
            return
        self.advance(learned)
        if old == new:
            return
        sums = self.arms.get(arm_id)
        if sums is None:
            sums = self.arms[arm_id] = ArmDiscounted.zeros(len(x))
        weight = self._weight(learned)
        sums.moment += weight * ((new or 0.0) - (old or 0.0)) * x
        sign = (new is not None) - (old is not None)
        if sign:
            square = np.multiply.outer(x, x)
            sums.gram += sign * weight * square
            sums.square_gram += sign * weight * weight * square
            sums.weight += sign * weight

    def _weight(self, learned: int) -> float:
        """What an outcome of a decision made at this logical time counts now."""
        faded: float = self.gamma ** (self.clock - max(learned, self.floor))
        return faded if learned > self.floor else self.past * faded

    def advance(self, clock: int) -> None:
        """State the sums at this logical time, unless they are stated at a later one."""
        if clock <= self.clock:
            return
        factor = self.gamma ** (clock - self.clock)
        self.clock = clock
        for sums in self.arms.values():
            sums.fade(factor)


def begun(gamma: float, arms: Arms, *, clock: int) -> Discounted:
    """Sums that begin at a logical time, when `arms` holds all outcomes so far, of decisions made up to then."""
    if gamma == KEEPS_NOTHING:
        return Discounted()
    count = sum(arm.reward.count for arm in arms.values())
    past = min(1.0, 1.0 / ((1.0 - gamma) * count)) if gamma < 1.0 and count else 1.0
    return Discounted(gamma, clock, clock, past).with_arms(arms)
