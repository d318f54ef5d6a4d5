"""Full information, linear: ridge regressions per arm on every arm's outcome of the learning stretch.

Rewards linear in the context, ln(cost) linear in the context (mean of the log-normal: exp(μ + s²/2)); the price is
re-solved on the predictions. It is what a linear router could reach if feedback were free, and it sees twice the
embedding coordinates that the product's default uses (all of the static encoder's).
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.compare.contexts import contexts_of
from bandit_router_sim.compare.outcome import Outcome, Run, outcome_of_choices
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.references.learning import learning_and_reported
from bandit_router_sim.references.paced import spend_on_predictions
from bandit_router_sim.replay.setting import Material

RIDGE = 1.0
_ALL_COORDINATES = 4096
_LEAST_COST_USD = 1e-9


def run(material: Material, *, budget_usd: float, seed: int, learn_share: float) -> Outcome:
    """Fit on the learning stretch, spend on the reported one. Raises NothingToLearnFrom."""
    seen, rows = learning_and_reported(material, seed=seed, learn_share=learn_share)
    log, contexts = material.log, contexts_of(material, dimension=_ALL_COORDINATES)
    rewards = predict_rewards(contexts[seen], log.scores[seen], contexts[rows])
    costs_usd = predict_costs(contexts[seen], log.costs_usd[seen], contexts[rows])
    chosen = spend_on_predictions(rewards, costs_usd, bills_usd=log.costs_usd[rows], money_usd=budget_usd * len(rows))
    return outcome_of_choices(Run(log.name, "supervised_ridge", budget_usd, seed), material, rows, chosen)


def predict_rewards(seen: FloatArray, rewards: FloatArray, contexts: FloatArray) -> FloatArray:
    """Predicted rewards (n, K) at `contexts` (n, d), from rewards (m, K) at contexts `seen` (m, d)."""
    predicted: FloatArray = contexts @ fit_ridge(seen, rewards)
    return predicted


def predict_costs(seen: FloatArray, costs_usd: FloatArray, contexts: FloatArray) -> FloatArray:
    """Predicted costs (n, K) in USD; shapes as in `predict_rewards`."""
    logs = np.log(np.maximum(costs_usd, _LEAST_COST_USD))
    weights = fit_ridge(seen, logs)
    variance = np.square(logs - seen @ weights).mean(axis=0)
    predicted: FloatArray = np.exp(contexts @ weights + 0.5 * variance)
    return predicted


def fit_ridge(contexts: FloatArray, targets: FloatArray) -> FloatArray:
    """Weights (d, K) of the ridge solution; coordinate 0 is the intercept and goes unpenalised."""
    penalty = np.full(contexts.shape[1], RIDGE)
    penalty[0] = 0.0
    return np.asarray(np.linalg.solve(contexts.T @ contexts + np.diag(penalty), contexts.T @ targets), dtype=np.float64)
