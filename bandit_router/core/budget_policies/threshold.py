"""`threshold`: the online multiple-choice knapsack rule of PILOT (Zhou, Chakrabarty and Lukose, 2008).

    z = share of the bin's money that is committed      Ψ(z) = (U e / L)^z (L / e)
    an arm may be chosen if q / c ≥ Ψ(z); of those the best q is

L and U bound the reward per dollar, over recent queries and live arms. The window's calls are cut into bins of `bin`
calls; a bin has the money of its calls, and what earlier bins have left over (or less what they took too much).
Every call must be answered here, where a knapsack may leave an item out: an arm that is not worth its money is not
excluded but ranked below all that are, by how far it is from it. Ψ is a price in reward per dollar, reported as λ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import Charge, PriceMark, Reservoir, Standing
from bandit_router.core.money import NUSD_PER_USD
from bandit_router.core.spec import SpecError

NOT_WORTH_IT = 10.0
"""Reward by which an arm just below the threshold is set back: more than any two rewards are apart."""

_KIND = -1.0
"""The number in front of its memory. Kinds are negative, as nothing that is remembered is."""

_LEAST_REWARD = 1e-6
_LEAST_USD = 1e-12


@dataclass(frozen=True, slots=True)
class ThresholdCharge:
    """Scores are rewards; those of arms that are not worth `price_per_usd` are set back."""

    price_per_usd: float

    def scores(self, rewards: Sequence[float], costs_nusd: Sequence[int]) -> list[float]:
        """See `Charge.scores`."""
        asked = self.price_per_usd * np.maximum(np.array(costs_nusd, dtype=np.float64) / NUSD_PER_USD, _LEAST_USD)
        shortfall = np.log(np.maximum(asked, _LEAST_REWARD) / np.maximum(rewards, _LEAST_REWARD))
        set_back = -NOT_WORTH_IT * (1.0 + np.maximum(shortfall, 0.0))
        found: list[float] = np.where(shortfall <= 0.0, rewards, set_back).tolist()
        return found


@dataclass(frozen=True, slots=True)
class Threshold:
    """Implements `BudgetPolicy`. Remembers: bin, what was committed at its start (nano-USD), L, U."""

    bin_calls: int
    solve_every: int = 1
    follows_pace: bool = False

    def solve(self, mark: PriceMark, standing: Standing) -> PriceMark:
        """Ψ at the share of the bin's money that is committed now."""
        number = float(standing.decisions // self.bin_calls)
        memory = mark.remembered_by(_KIND)
        before, start, low, high = memory or (-1.0, 0.0, 0.0, 0.0)
        if number != before:
            start = float(standing.committed_nusd)
        if not memory or mark.snapshot_version != standing.snapshot_version:
            low, high = reward_per_usd_bounds(standing.reservoir())
        used = self._used(standing, number=number, start=start)
        price = (high * math.e / low) ** used * low / math.e
        return PriceMark(price, standing.decisions, standing.snapshot_version, (_KIND, number, start, low, high))

    def charge(self, mark: PriceMark) -> Charge:
        """Arms not worth the price are set back."""
        return ThresholdCharge(mark.price_per_usd)

    def _used(self, standing: Standing, *, number: float, start: float) -> float:
        """Share in [0, 1] of the bin's money, left over of earlier bins included, that is committed."""
        due = standing.limit_nusd * min(1.0, (number + 1.0) * self.bin_calls / standing.calls)
        money = due - start
        return 1.0 if money <= 0.0 else min(1.0, max(0.0, (standing.committed_nusd - start) / money))


def reward_per_usd_bounds(reservoir: Reservoir) -> tuple[float, float]:
    """L and U: the smallest and the largest reward per dollar in the reservoir."""
    ratios = np.maximum(reservoir.expected_rewards, _LEAST_REWARD) / np.maximum(reservoir.costs_usd, _LEAST_USD)
    return float(ratios.min()), float(ratios.max())


def make_threshold(parameters: Mapping[str, float]) -> Threshold:
    """The policy of these parameters. Raises SpecError."""
    calls = parameters["bin"]
    if calls < 1 or calls != int(calls):
        raise SpecError(f"threshold:bin must be a whole number of calls, got {calls:g}")
    return Threshold(bin_calls=int(calls))
