"""The best assignment in hindsight: the multiple-choice knapsack's linear relaxation, solved by HiGHS.

    max Σ_ia x_ia r_ia    Σ_a x_ia <= 1    Σ_ia x_ia c_ia <= budget · n    x >= 0

Nobody can earn more within the budget. At most one query is split between two arms (Sinha and Zoltners, 1979).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from bandit_router_sim.compare.outcome import Outcome, Run, outcome_of_shares
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.setting import Material


def run(material: Material, *, budget_usd: float, seed: int, learn_share: float) -> Outcome:
    """The relaxation's optimum on the reported stretch. A query may stay unanswered."""
    _, rows = stretches(len(material.log), seed=seed, learn_share=learn_share)
    log = material.log
    shares = best_shares(log.costs_usd[rows], log.scores[rows], spend_usd=budget_usd)
    return outcome_of_shares(Run(log.name, "hindsight_lp", budget_usd, seed), material, rows, shares)


def best_shares(costs_usd: FloatArray, rewards: FloatArray, *, spend_usd: float) -> FloatArray:
    """Shares (n, K) of the arms; the mean cost is at most `spend_usd`. Costs are scaled by it for the solver."""
    count, arms = costs_usd.shape
    one_answer = sparse.kron(sparse.eye_array(count), np.ones((1, arms)))
    spend = sparse.csr_array(costs_usd.reshape(1, -1) / spend_usd)
    solution = linprog(
        -rewards.ravel(),
        A_ub=sparse.vstack([one_answer, spend], format="csr"),
        b_ub=np.append(np.ones(count), float(count)),
        bounds=(0.0, None),
        method="highs",
    )
    assert solution.status == 0, solution.message
    shares: FloatArray = np.clip(solution.x, 0.0, 1.0).reshape(count, arms)
    return shares
