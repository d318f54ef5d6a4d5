"""The price of money re-solved, not nudged: what the `replan` budget policy, previews and references share.

    b = (money left − expected cost in flight) / calls left
    λ: mean over recent contexts of Σ_a p_a(x; λ) · c_a(x) = b        (λ = 0 if that is affordable)

p_a are the policy's own choice probabilities at price λ, so the cost of exploration is priced, too. The mean cost
falls as λ rises; bisection on log λ finds the root. (Re-solving for budgeted contextual bandits: Wu, Srikant, Liu and
Jiang, 2015.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bandit_router.core.budget_policies.protocol import Reservoir
from bandit_router.core.regression import FloatArray

MIN_PRICE_PER_USD = 1e-3
MAX_PRICE_PER_USD = 1e7


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
    low, high = _bracket(lambda step: mean_cost_usd(_price(step)) <= pace_usd, hint)
    while high - low > 1:
        middle = (low + high) // 2
        if mean_cost_usd(_price(middle)) <= pace_usd:
            high = middle
        else:
            low = middle
    return _price(high)


_STEPS_PER_E = 1_000
_LAST_STEP = math.ceil(_STEPS_PER_E * math.log(MAX_PRICE_PER_USD / MIN_PRICE_PER_USD))
_NEAR_STEPS = 128


def _price(step: int) -> float:
    """The grid of prices, a tenth of a percent apart: the solution does not depend on where the search began."""
    return min(MAX_PRICE_PER_USD, MIN_PRICE_PER_USD * math.exp(step / _STEPS_PER_E))


def _bracket(is_affordable: Callable[[int], bool], hint: float) -> tuple[int, int]:
    """Steps (low, high), low too cheap a price and high a sufficient one; near the hint if the root is."""
    if not MIN_PRICE_PER_USD < hint < MAX_PRICE_PER_USD:
        return -1, _LAST_STEP
    centre = round(_STEPS_PER_E * math.log(hint / MIN_PRICE_PER_USD))
    near_low, near_high = max(-1, centre - _NEAR_STEPS), min(_LAST_STEP, centre + _NEAR_STEPS)
    if is_affordable(near_low):
        return -1, near_low
    if not is_affordable(near_high):
        return near_high, _LAST_STEP
    return near_low, near_high
