"""What a budget could buy: two yardsticks computed from outcomes of all arms, never available to a router.

`static_mix_reward`: the best fixed mix of arms that ignores the query, i.e. the upper concave envelope of the arms'
(mean cost, mean reward) at the budget. `hindsight_reward`: the best assignment knowing every outcome, the linear
relaxation of the multiple-choice knapsack. The relaxation is solved exactly by taking, over all queries, the steps of
each query's own concave envelope in order of reward per dollar until the money is gone (Sinha and Zoltners, 1979).
"""

from __future__ import annotations

import itertools

import numpy as np

from bandit_router.core.regression import FloatArray


def concave_envelope(costs: FloatArray, rewards: FloatArray) -> list[int]:
    """Indices of the arms on the upper concave envelope of (cost, reward), from the cheapest up; costs (K,)."""
    hull: list[int] = []
    for index in np.lexsort((-rewards, costs)).tolist():
        if hull and rewards[index] <= rewards[hull[-1]]:
            continue
        while len(hull) >= 2 and _is_below(costs, rewards, hull[-2], hull[-1], index):
            hull.pop()
        hull.append(index)
    return hull


def static_mix_reward(costs_usd: FloatArray, rewards: FloatArray, *, spend_usd: float) -> float:
    """Mean reward of the best fixed mix whose mean cost is at most `spend_usd`; inputs (n, K).

    Below the cheapest arm's mean cost not every query can be answered: the rest earns nothing.
    """
    mean_costs, mean_rewards = costs_usd.mean(axis=0), rewards.mean(axis=0)
    hull = concave_envelope(mean_costs, mean_rewards)
    if mean_costs[hull[0]] > spend_usd:
        return float(mean_rewards[hull[0]] * spend_usd / mean_costs[hull[0]])
    return float(np.interp(spend_usd, mean_costs[hull], mean_rewards[hull]))


def hindsight_reward(costs_usd: FloatArray, rewards: FloatArray, *, spend_usd: float) -> float:
    """Mean reward of the best assignment in hindsight whose mean cost is at most `spend_usd`; inputs (n, K).

    A query may stay unanswered (reward 0 at cost 0), as it does where the money does not reach the cheapest arm.
    """
    steps: list[tuple[float, float, float]] = []
    for row_costs, row_rewards in zip(costs_usd, rewards, strict=True):
        steps.extend(_steps(np.append(0.0, row_costs), np.append(0.0, row_rewards)))
    left_usd, total = spend_usd * len(costs_usd), 0.0
    for _, cost_usd, reward in sorted(steps, reverse=True):
        share = 1.0 if cost_usd <= left_usd else left_usd / cost_usd
        total += share * reward
        left_usd -= share * cost_usd
        if share < 1.0:
            break
    return total / len(costs_usd)


def _steps(costs: FloatArray, rewards: FloatArray) -> list[tuple[float, float, float]]:
    """(reward per dollar, dollars, reward) of each step up one query's envelope, falling in the first."""
    hull = concave_envelope(costs, rewards)
    steps = []
    for low, high in itertools.pairwise(hull):
        cost, reward = float(costs[high] - costs[low]), float(rewards[high] - rewards[low])
        steps.append((reward / cost if cost > 0.0 else float("inf"), cost, reward))
    return steps


def _is_below(costs: FloatArray, rewards: FloatArray, left: int, middle: int, right: int) -> bool:
    """Whether the middle point lies on or below the line from left to right."""
    rise = (rewards[middle] - rewards[left]) * (costs[right] - costs[left])
    return bool(rise <= (rewards[right] - rewards[left]) * (costs[middle] - costs[left]))
