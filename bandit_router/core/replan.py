"""The `replan` budget policy: the price of money is re-solved, not nudged.

    b = (money left − expected cost in flight) / calls left
    λ: mean over recent contexts of Σ_a p_a(x; λ) · c_a(x) = b        (λ = 0 if that is affordable)

p_a are the policy's own choice probabilities at price λ, so the cost of exploration is priced, too. The mean cost
falls as λ rises; bisection on log λ finds the root. (Re-solving for budgeted contextual bandits: Wu, Srikant, Liu and
Jiang, 2015.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bandit_router.core.exploration import FloatArray

MIN_PRICE_PER_USD = 1e-3
MAX_PRICE_PER_USD = 1e7
_PACE_FLOOR_CALLS = 100
"""A window of unknown length is assumed to bring at least this many further calls."""


def calls_left(*, expected_calls: int, decisions: int, elapsed_ms: int | None, remaining_ms: int | None) -> float:
    """How many further calls the money has to last for.

    Declared demand counts down, but never below one call. Without a declaration a window that ends is extrapolated at
    its own rate so far; a fixed total, whose end nobody knows, is expected to bring as many calls again as it has
    brought (the Lindy estimate), so the money left is never staked on the next few calls.
    """
    if expected_calls > 0:
        return max(1.0, float(expected_calls - decisions))
    seen = max(decisions, _PACE_FLOOR_CALLS)
    if remaining_ms is None or elapsed_ms is None or elapsed_ms <= 0:
        return float(seen)
    return max(1.0, seen * remaining_ms / elapsed_ms)


@dataclass(frozen=True, slots=True)
class Reservoir:
    """Recent queries as the policy sees them: optimistic rewards (n, K) and expected costs in USD (n, K)."""

    rewards: FloatArray
    costs_usd: FloatArray


def solve_price(
    reservoir: Reservoir, *, pace_usd: float, weigh: Callable[[FloatArray], FloatArray], hint: float = 0.0
) -> float:
    """λ in reward per USD at which the mean expected cost per call equals `pace_usd`.

    `weigh` turns scores (n, K) into choice probabilities. Returns 0 if the pace is affordable at any price, and
    MAX_PRICE_PER_USD if even then it is not. `hint`: the last price, tried first to narrow the bracket.
    """

    def mean_cost_usd(price_per_usd: float) -> float:
        shares = weigh(reservoir.rewards - price_per_usd * reservoir.costs_usd)
        return float(np.vdot(shares, reservoir.costs_usd)) / len(reservoir.costs_usd)

    if mean_cost_usd(0.0) <= pace_usd:
        return 0.0
    if mean_cost_usd(MAX_PRICE_PER_USD) > pace_usd:
        return MAX_PRICE_PER_USD
    low, high = _bracket(mean_cost_usd, pace_usd, hint)
    while high - low > _PRECISION:
        middle = 0.5 * (low + high)
        if mean_cost_usd(math.exp(middle)) > pace_usd:
            low = middle
        else:
            high = middle
    return math.exp(high)


_PRECISION = 1e-3
_BRACKET = 0.3


def _bracket(mean_cost_usd: Callable[[float], float], pace_usd: float, hint: float) -> tuple[float, float]:
    """A logarithmic bracket of the root: a narrow one around the hint if the root is in it, else the whole range."""
    low, high = math.log(MIN_PRICE_PER_USD), math.log(MAX_PRICE_PER_USD)
    if hint <= MIN_PRICE_PER_USD or hint >= MAX_PRICE_PER_USD:
        return low, high
    centre = math.log(hint)
    near_low, near_high = max(low, centre - _BRACKET), min(high, centre + _BRACKET)
    if mean_cost_usd(math.exp(near_low)) <= pace_usd:
        return low, near_low
    if mean_cost_usd(math.exp(near_high)) > pace_usd:
        return near_high, high
    return near_low, near_high
