"""Knows every outcome and chooses one arm or none for each query, within the budget.

Greedy by reward per dollar: the product's `core.replan` finds the price λ at which argmax r − λc just fits (no answer
counts as reward 0 at cost 0), then the money left buys upgrades, the most rewarding per dollar first.
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.compare.outcome import Outcome, Run, outcome_of_choices
from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.references.paced import greedy_price
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import Material


def run(material: Material, *, budget_usd: float, seed: int, learn_share: float) -> Outcome:
    """Choices on the reported stretch."""
    _, rows = stretches(len(material.log), seed=seed, learn_share=learn_share)
    log = material.log
    chosen = choose(log.costs_usd[rows], log.scores[rows], money_usd=budget_usd * len(rows))
    return outcome_of_choices(Run(log.name, "clairvoyant", budget_usd, seed), material, rows, chosen)


def choose(costs_usd: FloatArray, rewards: FloatArray, *, money_usd: float) -> IndexArray:
    """Columns (n,), or REFUSED, whose costs add up to at most `money_usd`; inputs (n, K)."""
    count = len(costs_usd)
    costs = np.column_stack([np.zeros(count), costs_usd])  # column 0: no answer
    values = np.column_stack([np.zeros(count), rewards])
    price = greedy_price(values, costs, pace_usd=money_usd / count)
    chosen = (values - price * costs).argmax(axis=1)
    left_usd = money_usd - float(costs[np.arange(count), chosen].sum())
    if left_usd < 0.0:
        chosen[:], left_usd = 0, money_usd
    _upgrade(chosen, costs, values, left_usd=left_usd)
    return np.where(chosen == 0, REFUSED, chosen - 1)


def _upgrade(chosen: IndexArray, costs: FloatArray, values: FloatArray, *, left_usd: float) -> None:
    """Spend what is left on better arms, in place; each query is upgraded at most once."""
    here = np.arange(len(chosen)), chosen
    dearer = costs - costs[here][:, None]
    better = values - values[here][:, None]
    gain = np.where((better > 0.0) & (dearer <= left_usd), better / np.maximum(dearer, 1e-15), 0.0)
    best = gain.argmax(axis=1)
    for row in np.argsort(-gain.max(axis=1), kind="stable").tolist():
        if gain[row, best[row]] <= 0.0:
            break
        if dearer[row, best[row]] <= left_usd:
            left_usd -= float(dearer[row, best[row]])
            chosen[row] = best[row]
