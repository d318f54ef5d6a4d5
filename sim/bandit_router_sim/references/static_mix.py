"""The best fixed mix of arms, in hindsight: what a router that never looks at the query could reach at most."""

from __future__ import annotations

import numpy as np

from bandit_router.core.frontier import concave_envelope
from bandit_router_sim.compare.outcome import Outcome, Run, outcome_of_shares
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.setting import Material


def run(material: Material, *, budget_usd: float, seed: int, learn_share: float) -> Outcome:
    """The upper concave envelope of the arms' (mean cost, mean reward) on the reported stretch, at the budget."""
    _, rows = stretches(len(material.log), seed=seed, learn_share=learn_share)
    log = material.log
    mix = best_mix(log.costs_usd[rows].mean(axis=0), log.scores[rows].mean(axis=0), spend_usd=budget_usd)
    named = Run(log.name, "static_mix", budget_usd, seed)
    return outcome_of_shares(named, material, rows, np.tile(mix, (len(rows), 1)))


def best_mix(costs_usd: FloatArray, rewards: FloatArray, *, spend_usd: float) -> FloatArray:
    """Shares (K,) of the best mix whose mean cost is at most `spend_usd`; they sum to less than 1 below every arm."""
    hull = concave_envelope(costs_usd, rewards)
    mix = np.zeros(len(costs_usd))
    if spend_usd <= costs_usd[hull[0]]:
        mix[hull[0]] = spend_usd / costs_usd[hull[0]]
        return mix
    high = int(np.searchsorted(costs_usd[hull], spend_usd))
    if high == len(hull):
        mix[hull[-1]] = 1.0
        return mix
    cheap, dear = hull[high - 1], hull[high]
    mix[dear] = (spend_usd - costs_usd[cheap]) / (costs_usd[dear] - costs_usd[cheap])
    mix[cheap] = 1.0 - mix[dear]
    return mix
