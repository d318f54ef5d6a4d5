"""The price of money re-solved, not nudged: what the `replan` budget policy, previews and references share.

    b = (money left − expected cost in flight) / calls left
    λ: mean over recent contexts of Σ_a p_a(x; λ) · c_a(x) = b        (λ = 0 if that is affordable)

p_a are the policy's own choice probabilities at price λ, so the cost of exploration is priced, too. (Re-solving for
budgeted contextual bandits: Wu, Srikant, Liu and Jiang, 2015.)

Prices are on a grid, evenly in log λ, and the answer is the first step of it that is affordable. The mean cost falls as
λ rises, so there is one such step, whatever way it is found: by false position (the Illinois rule: Dowell and Jarratt,
1971) from around the last price, which mostly is near, and by bisection if that gets nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import Reservoir, Weigh
from bandit_router.core.regression import FloatArray

MIN_PRICE_PER_USD = 1e-3
MAX_PRICE_PER_USD = 1e7


_STEPS_PER_E = 1_000
_FREE_STEP = -1
"""The step before the first of the grid: no price at all."""

_LAST_STEP = math.ceil(_STEPS_PER_E * math.log(MAX_PRICE_PER_USD / MIN_PRICE_PER_USD))
_NEAR_STEPS = 64
_WIDENING = 8
_FALSE_POSITIONS = 12
"""Trials by false position. Costs that fall in jumps can defeat it: what is left of the bracket is then halved."""


@dataclass(frozen=True, slots=True)
class _Bracket:
    """Steps of too cheap a price and of a sufficient one, with their mean costs beyond the pace, > 0 and ≤ 0."""

    low: int
    above_usd: float
    high: int
    below_usd: float


def solve_price(
    reservoir: Reservoir, *, pace_usd: float, weigh: Callable[[FloatArray], FloatArray], hint: float = 0.0
) -> float:
    """λ in reward per USD at which the mean expected cost per call equals `pace_usd`.

    `weigh` turns scores (n, K) into choice probabilities. Returns 0 if the pace is affordable at any price, and
    MAX_PRICE_PER_USD if even then it is not. `hint`: the last price, near which the search begins.
    """

    def excess_usd(step: int) -> float:
        shares = weigh(reservoir.rewards - _price(step) * reservoir.costs_usd)
        return float(np.vdot(shares.T, reservoir.costs_usd.T)) / len(shares) - pace_usd

    start = _LAST_STEP // 2
    if MIN_PRICE_PER_USD < hint < MAX_PRICE_PER_USD:
        start = round(_STEPS_PER_E * math.log(hint / MIN_PRICE_PER_USD))
    elif excess_usd(_FREE_STEP) <= 0.0:
        return 0.0
    return _price(_first_affordable(excess_usd, _bracket(excess_usd, start)))


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Recent queries, and how a policy draws arms for them."""

    reservoir: Reservoir
    weigh: Weigh

    def price_at(self, pace_usd: float, *, hint: float = 0.0) -> float:
        """The price at which calls cost `pace_usd`, as `solve_price` finds it."""
        return solve_price(self.reservoir, pace_usd=pace_usd, weigh=self._weighed, hint=hint)

    def shares(self, price: float) -> FloatArray:
        """Choice probabilities (n, K) at this price."""
        return self._weighed(self.reservoir.rewards - price * self.reservoir.costs_usd)

    def means(self, shares: FloatArray) -> tuple[float, float]:
        """Mean reward and mean cost in USD of a call, at these choice probabilities (n, K)."""
        rewards, costs_usd = self.reservoir.expected_rewards, self.reservoir.costs_usd
        return float(np.vdot(shares, rewards)) / len(shares), float(np.vdot(shares, costs_usd)) / len(shares)

    def _weighed(self, scores: FloatArray) -> FloatArray:
        return self.weigh(scores, self.reservoir.deviations)


def _price(step: int) -> float:
    """The grid of prices, a tenth of a percent apart: the solution does not depend on where the search began."""
    if step == _FREE_STEP:
        return 0.0
    return min(MAX_PRICE_PER_USD, MIN_PRICE_PER_USD * math.exp(step / _STEPS_PER_E))


def _bracket(excess_usd: Callable[[int], float], start: int) -> _Bracket:
    """The first step that is affordable and the one before it, or a bracket of them next to `start`.

    Where no price is needed the upper end is the free step, where none suffices it is the last one.
    """
    usd, distance = excess_usd(start), _NEAR_STEPS
    if usd > 0.0:
        low = start
        while low < _LAST_STEP:
            high, above_usd = min(_LAST_STEP, low + distance), usd
            usd = excess_usd(high)
            if usd <= 0.0:
                return _Bracket(low, above_usd, high, usd)
            low, distance = high, _WIDENING * distance
        return _Bracket(_LAST_STEP - 1, usd, _LAST_STEP, 0.0)
    high = start
    while high > _FREE_STEP:
        low, below_usd = max(_FREE_STEP, high - distance), usd
        usd = excess_usd(low)
        if usd > 0.0:
            return _Bracket(low, usd, high, below_usd)
        high, distance = low, _WIDENING * distance
    return _Bracket(_FREE_STEP - 1, 0.0, _FREE_STEP, usd)


def _first_affordable(excess_usd: Callable[[int], float], bracket: _Bracket) -> int:
    """The first affordable step of the bracket."""
    low, above_usd, high, below_usd = bracket.low, bracket.above_usd, bracket.high, bracket.below_usd
    trials, last_usd = 0, 0.0
    while high - low > 1:
        step = (low + high) // 2
        if trials < _FALSE_POSITIONS:
            root = low + (high - low) * above_usd / (above_usd - below_usd)
            step = min(high - 1, max(low + 1, round(root)))
        trials += 1
        usd = excess_usd(step)
        is_again = usd * last_usd > 0.0  # the same end moves twice: give the other one less weight
        if usd > 0.0:
            low, above_usd, below_usd = step, usd, below_usd / 2 if is_again else below_usd
        else:
            high, below_usd, above_usd = step, usd, above_usd / 2 if is_again else above_usd
        last_usd = usd
    return high
