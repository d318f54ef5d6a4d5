"""What has lately been different: discounted sums of each arm's latest rewards, in logical time.

Sums over all outcomes hardly move when a model silently changes after a thousand calls. Beside them stand sums in which
an outcome counts e^{−age/H}; its age is how many rewards the pool has learned between the decision's snapshot and the
newest one, so it depends on no clock, and folding stays independent of batching and order. With θ the arm's posterior
mean,

    r̄ = (Σwy − θ·Σwx) / Σw        se = σ / √Σw

is by how much the arm's rewards lie above what is known of it, and the standard error of that. It counts only where
chance does not explain it (|r̄| > c·se): in stationary traffic nearly never, so following costs nothing there, while
forgetting everything at one rate (D-LinUCB; Russac et al., 2019) always costs. What was known of the queries that the
arm is good at is then known of a model that is no longer there: what counts is Σwy / Σw, its level lately. An arm that
is avoided because it has become worse gathers no new outcomes; its Σw dies away, chance explains more and more, and
after about H·ln(Σw·(r̄/cσ)²) rewards of the pool it is believed in again and tried: that is how a recovery is found.

A short H follows soon, since hardly any reward from before the change is left in the sums; it also tries again soon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bandit_router.core.regression import FloatArray

HORIZON_REWARDS = 40.0
"""H: after so many rewards of the pool an outcome counts e times less."""

_NOTHING = 1e-12
"""Less weight than this is none: what rounding leaves when everything has been taken back."""


@dataclass(slots=True, eq=False)
class ArmRecency:
    """Discounted sums of one arm: Σwx (d,), Σw, Σwy."""

    x: FloatArray
    weight: float = 0.0
    y: float = 0.0

    def copy(self) -> ArmRecency:
        """An independent copy."""
        return ArmRecency(self.x.copy(), self.weight, self.y)

    def changed(self, mean: FloatArray, *, noise_sd: float, threshold: float) -> tuple[float, float] | None:
        """The arm's mean reward lately and its standard error; None if chance explains where that is.

        `mean` (d,) is what is known of the arm: rewards are x·`mean`, give or take `noise_sd` each.
        """
        if self.weight <= _NOTHING:
            return None
        residual = (self.y - float(mean @ self.x)) / self.weight
        error = noise_sd / math.sqrt(self.weight)
        return (self.y / self.weight, error) if abs(residual) > threshold * error else None


@dataclass(slots=True, eq=False)
class Recency:
    """The discounted sums of a pool's arms; `clock`: the logical time, in learned rewards, that they are stated at."""

    clock: int = 0
    arms: dict[str, ArmRecency] = field(default_factory=dict)

    def copy(self) -> Recency:
        """An independent copy."""
        return Recency(self.clock, {arm_id: sums.copy() for arm_id, sums in self.arms.items()})

    def replace(self, arm_id: str, x: FloatArray, *, learned: int, old: float | None, new: float | None) -> None:
        """Take `old` back and `new` in: rewards of a decision made when the pool had learned `learned` rewards."""
        if old == new:
            return
        self._advance(learned)
        weight = math.exp((learned - self.clock) / HORIZON_REWARDS)
        sums = self.arms.get(arm_id)
        if sums is None:
            sums = self.arms[arm_id] = ArmRecency(np.zeros(len(x)))
        sign = (new is not None) - (old is not None)
        sums.weight += sign * weight
        sums.x += sign * weight * x
        sums.y += weight * ((new or 0.0) - (old or 0.0))

    def _advance(self, clock: int) -> None:
        if clock <= self.clock:
            return
        decay = math.exp((self.clock - clock) / HORIZON_REWARDS)
        self.clock = clock
        for sums in self.arms.values():
            sums.weight *= decay
            sums.x *= decay
            sums.y *= decay
