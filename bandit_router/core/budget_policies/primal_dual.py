"""`primal_dual`: the price follows spend by a gradient, as pacers in advertising do (Balseiro, Lu and Mirrokni).

    c̄ ← (1 − ρ) c̄ + ρ c        ℓ ← [ℓ + η (c̄/B − 1)]₊        λ = ℓ / B        g = q − λ c

B is the window's money per call of the window, c what a call commits, ρ the `smoothing`, η the `step`; ℓ, the price of
one B, has no unit. Steps of a fixed size (`mirror=0`) fit one order of magnitude of prices and budgets span several,
so the default is entropy mirror descent, ℓ ← ℓ exp(η (c̄/B − 1)). `log=1` charges as ParetoBandit (arXiv 2604.00136)
does, for comparison: g = q − ℓ c̃ with c̃ = ln(c/c_min)/ln(c_max/c_min) clipped to [0, 1] and ℓ to [0, 5]; the λ
reported is then the slope of that charge at a cost of B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import (
    Charge,
    LinearCharge,
    PriceMark,
    Reservoir,
    Standing,
)
from bandit_router.core.money import NUSD_PER_USD, nusd_to_usd
from bandit_router.core.spec import SpecError

MAX_LOG_MULTIPLIER = 5.0
MAX_LINEAR_MULTIPLIER = 100.0
MIN_MIRROR_MULTIPLIER = 1e-6
"""What mirror descent never falls below: from 0 it could not rise."""

MIRROR_START = 0.1

_KIND = -2.0
"""The number in front of its memory, less 1 for mirror descent and less 2 for logarithmic charges."""

MAX_CALLS_AT_ONCE = 1_000
_LEAST_USD = 1e-12


@dataclass(frozen=True, slots=True)
class LogCharge:
    """ℓ times the logarithm of the cost, scaled to 0 at the cheapest arm's and 1 at the dearest's."""

    multiplier: float
    least_usd: float
    most_usd: float

    def scores(self, rewards: Sequence[float], costs_nusd: Sequence[int]) -> list[float]:
        """See `Charge.scores`."""
        spread = math.log(self.most_usd / self.least_usd)
        costs_usd = np.maximum(np.array(costs_nusd, dtype=np.float64) / NUSD_PER_USD, _LEAST_USD)
        scaled = np.log(costs_usd / self.least_usd) / spread if spread > 0.0 else np.zeros(len(costs_usd))
        scores: list[float] = (np.array(rewards) - self.multiplier * np.clip(scaled, 0.0, 1.0)).tolist()
        return scores


@dataclass(frozen=True, slots=True)
class PrimalDual:
    """Implements `BudgetPolicy`. Remembers: ℓ, c̄/B, what was committed (nano-USD), cost of the cheapest and dearest.

    Taking a window over from another policy, it starts as in a new one.
    """

    step: float
    smoothing: float
    is_mirror: bool
    is_log: bool
    solve_every: int = 1
    follows_pace: bool = False

    def solve(self, mark: PriceMark, standing: Standing) -> PriceMark:
        """One step for every call since the last."""
        start = MIRROR_START if self.is_mirror else 0.0
        memory = mark.remembered_by(self._kind)
        afresh = (start, 1.0, float(standing.committed_nusd), 0.0, 0.0)
        multiplier, pressure, committed, least_usd, most_usd = memory or afresh
        if self.is_log and (not memory or mark.snapshot_version != standing.snapshot_version):
            least_usd, most_usd = cost_bounds_usd(standing.reservoir())
        budget_usd = max(_LEAST_USD, nusd_to_usd(standing.limit_nusd) / standing.calls)
        calls = standing.decisions - mark.decisions if memory else 0
        if calls > 0:
            spent_usd = (standing.committed_nusd - committed) / NUSD_PER_USD
            pressure, multiplier = self._follow(
                pressure, multiplier, ratio=spent_usd / calls / budget_usd, calls=min(calls, MAX_CALLS_AT_ONCE)
            )
        multiplier = self._clipped(multiplier)
        memory = (multiplier, pressure, float(standing.committed_nusd), least_usd, most_usd)
        price = self._price(memory, budget_usd)
        return PriceMark(price, standing.decisions, standing.snapshot_version, (self._kind, *memory))

    def charge(self, mark: PriceMark) -> Charge:
        """Linear in dollars, or in their logarithm."""
        memory = mark.remembered_by(self._kind)
        if not self.is_log or not memory:
            return LinearCharge(mark.price_per_usd)
        multiplier, _, _, least_usd, most_usd = memory
        return LogCharge(multiplier, least_usd, most_usd)

    def _follow(self, pressure: float, multiplier: float, *, ratio: float, calls: int) -> tuple[float, float]:
        """c̄/B and ℓ after so many calls whose cost was `ratio` of B on average."""
        for _ in range(calls):
            pressure += self.smoothing * (ratio - pressure)
            change = self.step * (pressure - 1.0)
            multiplier = multiplier * math.exp(min(1.0, change)) if self.is_mirror else max(0.0, multiplier + change)
        return pressure, multiplier

    @property
    def _kind(self) -> float:
        return _KIND - self.is_mirror - 2 * self.is_log

    def _clipped(self, multiplier: float) -> float:
        least = MIN_MIRROR_MULTIPLIER if self.is_mirror else 0.0
        return min(MAX_LOG_MULTIPLIER if self.is_log else MAX_LINEAR_MULTIPLIER, max(least, multiplier))

    def _price(self, memory: tuple[float, ...], budget_usd: float) -> float:
        multiplier, _, _, least_usd, most_usd = memory
        if not self.is_log:
            return multiplier / budget_usd
        return multiplier / (budget_usd * math.log(most_usd / least_usd)) if most_usd > least_usd else 0.0


def cost_bounds_usd(reservoir: Reservoir) -> tuple[float, float]:
    """Mean expected cost of the cheapest and of the dearest arm of the reservoir."""
    means = np.maximum(reservoir.costs_usd.mean(axis=0), _LEAST_USD)
    return float(means.min()), float(means.max())


def make_primal_dual(parameters: Mapping[str, float]) -> PrimalDual:
    """The policy of these parameters. Raises SpecError."""
    for key in ("step", "smoothing"):
        if not 0.0 < parameters[key] <= 1.0:
            raise SpecError(f"primal_dual:{key} must be positive and at most 1, got {parameters[key]:g}")
    for key in ("mirror", "log"):
        if parameters[key] not in (0.0, 1.0):
            raise SpecError(f"primal_dual:{key} must be 0 or 1, got {parameters[key]:g}")
    return PrimalDual(
        step=parameters["step"],
        smoothing=parameters["smoothing"],
        is_mirror=parameters["mirror"] == 1.0,
        is_log=parameters["log"] == 1.0,
    )
