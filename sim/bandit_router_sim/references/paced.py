"""Spending a budget on predictions: the price of money re-solved by the product's own `core.replan`, choices greedy.

For references that predict every arm's reward and cost. The contexts still to come are known to them (outcomes are
not), so λ is solved on exactly the requests that remain and the money that remains; the bills correct it as they come.
"""

from __future__ import annotations

import numpy as np

from bandit_router.core.budget_policies.protocol import Reservoir
from bandit_router.core.replan import solve_price
from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.replay.result import REFUSED

SOLVE_EVERY = 25
_RESERVOIR_ROWS = 2000


def greedy(scores: FloatArray) -> FloatArray:
    """All probability on the best arm of each row; the first of equals. Shapes (n, K)."""
    shares = np.zeros_like(scores)
    shares[np.arange(len(scores)), scores.argmax(axis=1)] = 1.0
    return shares


def spend_on_predictions(
    rewards: FloatArray, costs_usd: FloatArray, *, bills_usd: FloatArray, money_usd: float
) -> IndexArray:
    """Columns chosen (n,), REFUSED where the bill no longer fits the money left.

    `rewards`, `costs_usd`: predictions (n, K); `bills_usd` (n, K): true costs, of which only that of the chosen arm is
    looked at, after the choice.
    """
    chosen = np.full(len(rewards), REFUSED, dtype=np.int64)
    left_usd, price = money_usd, 0.0
    for number in range(len(rewards)):
        if number % SOLVE_EVERY == 0:
            price = _price(rewards[number:], costs_usd[number:], left_usd=left_usd, hint=price)
        column = int(np.argmax(rewards[number] - price * costs_usd[number]))
        bill_usd = float(bills_usd[number, column])
        if bill_usd <= left_usd:
            chosen[number] = column
            left_usd -= bill_usd
    return chosen


def greedy_price(rewards: FloatArray, costs_usd: FloatArray, *, pace_usd: float, hint: float = 0.0) -> float:
    """λ at which greedy choices on these rewards and costs (n, K) cost `pace_usd` on average."""
    reservoir = Reservoir(
        rewards=rewards, costs_usd=costs_usd, expected_rewards=rewards, deviations=np.zeros_like(rewards)
    )
    return solve_price(reservoir, pace_usd=pace_usd, weigh=greedy, hint=hint)


def _price(rewards: FloatArray, costs_usd: FloatArray, *, left_usd: float, hint: float) -> float:
    pace_usd = left_usd / len(rewards)
    return greedy_price(rewards[:_RESERVOIR_ROWS], costs_usd[:_RESERVOIR_ROWS], pace_usd=pace_usd, hint=hint)
