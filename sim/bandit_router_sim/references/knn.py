"""Full information, non-parametric: the mean outcome of the nearest learned queries, per arm (cf. arXiv 2505.12601).

Nearness is the dot product of the embeddings, which are of about unit length.
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.compare.outcome import Outcome, Run, outcome_of_choices
from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.references.learning import learning_and_reported
from bandit_router_sim.references.paced import spend_on_predictions
from bandit_router_sim.replay.setting import Material

NEIGHBOURS = 50
_CHUNK_ROWS = 512


def run(material: Material, *, budget_usd: float, seed: int, learn_share: float) -> Outcome:
    """Look up in the learning stretch, spend on the reported one. Raises NothingToLearnFrom."""
    seen, rows = learning_and_reported(material, seed=seed, learn_share=learn_share)
    log = material.log
    near = nearest(material.embeddings[seen], material.embeddings[rows], count=NEIGHBOURS)
    chosen = spend_on_predictions(
        log.scores[seen][near].mean(axis=1),
        log.costs_usd[seen][near].mean(axis=1),
        bills_usd=log.costs_usd[rows],
        money_usd=budget_usd * len(rows),
    )
    return outcome_of_choices(Run(log.name, "knn", budget_usd, seed), material, rows, chosen)


def nearest(known: FloatArray, queries: FloatArray, *, count: int) -> IndexArray:
    """Positions in `known` (m, d) of the `count` (at most m) nearest to each of `queries` (n, d), in no order."""
    count = min(count, len(known))
    found = [
        np.argpartition(-(queries[start : start + _CHUNK_ROWS] @ known.T), count - 1, axis=1)[:, :count]
        for start in range(0, len(queries), _CHUNK_ROWS)
    ]
    return np.concatenate(found)
