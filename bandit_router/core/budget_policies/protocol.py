"""What a budget policy is: a rule that turns a tenant's account into what money costs the score of an arm.

A policy keeps nothing. What it has to remember is in the mark of its last solution, which the ledger stores with every
hold: a restarted replica goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bandit_router.core.money import NUSD_PER_USD, nusd_to_usd
from bandit_router.core.regression import FloatArray

Weigh = Callable[[FloatArray, FloatArray], FloatArray]
"""The exploration layer over many queries at once: scores and deviations (n, K) to choice probabilities (n, K)."""


@dataclass(frozen=True, slots=True)
class PriceMark:
    """The price of money last solved for a tenant window, kept so that a restart continues with it.

    `decisions` and `snapshot_version` say after how many decisions and from which snapshot it was solved; `memory` is
    what its budget policy must know again for the next solution, behind a number that is the policy's own.
    """

    price_per_usd: float
    decisions: int
    snapshot_version: int
    memory: tuple[float, ...] = ()

    def remembered_by(self, kind: float) -> tuple[float, ...]:
        """The memory of the policy whose number this is; nothing if another one, or none, has left the mark."""
        return self.memory[1:] if self.memory[:1] == (kind,) else ()


@dataclass(frozen=True, slots=True, eq=False)
class Reservoir:
    """Recent queries as the policy sees them, (n, K): optimistic and expected rewards, expected costs in USD.

    `deviations`: of the expected rewards.
    """

    rewards: FloatArray
    costs_usd: FloatArray
    expected_rewards: FloatArray
    deviations: FloatArray

    def of_arms(self, positions: tuple[int, ...]) -> Reservoir:
        """The same queries as they are with these arms alone."""
        columns = list(positions)
        return Reservoir(
            self.rewards[:, columns],
            self.costs_usd[:, columns],
            self.expected_rewards[:, columns],
            self.deviations[:, columns],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Holds:
    """What must be free for a call of each of a reservoir's arms: `usd` (K,), for a query like the latest.

    `weigher`: the exploration layer over the arms at some positions alone.
    """

    usd: FloatArray
    weigher: Callable[[tuple[int, ...]], Weigh]


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How a tenant window stands when its price is solved.

    `committed_nusd`: spent, or expected to be by what is in flight. `reservoir` looks at recent queries when called,
    `holds` at what calls must have free; None where none is refused, or bills may exceed holds. `pace_above_usd`: the
    pace of what the tenant's organisation has left; no bound without one.
    """

    limit_nusd: int
    committed_nusd: int
    decisions: int
    calls_left: float
    snapshot_version: int
    reservoir: Callable[[], Reservoir]
    weigh: Weigh
    pace_above_usd: float = math.inf
    holds: Callable[[], Holds] | None = None

    @property
    def calls(self) -> float:
        """Calls of the whole window: those that were and those that are left."""
        return self.decisions + self.calls_left

    @property
    def limit_usd(self) -> float:
        """Money of the whole window."""
        return nusd_to_usd(self.limit_nusd)

    @property
    def left_usd(self) -> float:
        """Money left in the window."""
        return left_of(self.limit_nusd, self.committed_nusd)

    @property
    def own_pace_usd(self) -> float:
        """Money left per call that is left."""
        return pace_of(self.limit_nusd, self.committed_nusd, calls_left=self.calls_left)

    @property
    def pace_usd(self) -> float:
        """Money left per call that is left, where there is the least of it."""
        return min(self.own_pace_usd, self.pace_above_usd)

    @property
    def is_bound_above(self) -> bool:
        """Whether the pace is that of the tenant's organisation."""
        return self.pace_above_usd < self.own_pace_usd


def left_of(limit_nusd: int, committed_nusd: int) -> float:
    """Money left in a window, in USD."""
    return nusd_to_usd(max(0, limit_nusd - committed_nusd))


def pace_of(limit_nusd: int, committed_nusd: int, *, calls_left: float) -> float:
    """Money left in a window, in USD, per call that is left of it."""
    return left_of(limit_nusd, committed_nusd) / calls_left


class Charge(Protocol):
    """What money takes off the scores of arms."""

    def scores(self, rewards: Sequence[float], costs_nusd: Sequence[int]) -> list[float]:
        """Scores of arms with these optimistic rewards and expected costs."""
        ...


@dataclass(frozen=True, slots=True)
class LinearCharge:
    """g = q − λ c: linear in dollars."""

    price_per_usd: float

    def scores(self, rewards: Sequence[float], costs_nusd: Sequence[int]) -> list[float]:
        """See `Charge.scores`."""
        price = self.price_per_usd / NUSD_PER_USD
        return [reward - price * cost for reward, cost in zip(rewards, costs_nusd, strict=True)]


class BudgetPolicy(Protocol):
    """How money is priced."""

    @property
    def solve_every(self) -> int:
        """Decisions after which the mark is solved again at the latest; 0: never, the price is always 0."""
        ...

    @property
    def follows_pace(self) -> bool:
        """Whether its solution is for `Standing.pace_usd`, so that what is above the tenant has to be looked at."""
        ...

    def solve(self, mark: PriceMark, standing: Standing) -> PriceMark:
        """The mark that follows `mark`, a function of the two alone."""
        ...

    def charge(self, mark: PriceMark) -> Charge:
        """What the mark takes off scores."""
        ...
