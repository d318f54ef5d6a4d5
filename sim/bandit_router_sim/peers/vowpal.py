"""Vowpal Wabbit's SquareCB (Foster and Rakhlin, 2020) over action-dependent features, as its bindings ship it.

    https://pypi.org/project/vowpalwabbit (BSD-3-Clause), `--cb_explore_adf --squarecb`

Shared features are the context, each action has its own indicator, and `--quadratic` crosses the two. It minimises
clip(λ · bill − reward, −1, 1) and knows no budget, and what it learned at one λ does not move to another. So a learner
runs at each λ of a grid, all of them learn from every outcome (the library's learning is off-policy), and an outer
loop decides which one chooses: before every choice it re-solves the mixture of two neighbours on the grid whose
expected spend on recent requests, at the arms' mean bills, is the money left per request left.
"""

from __future__ import annotations

from collections import deque
from importlib import import_module
from typing import Any

import numpy as np

from bandit_router.core.draw import pick, uniform
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.protocol import Offer, Request
from bandit_router_sim.peers.purse import Purse

ARGUMENTS = "--cb_explore_adf --squarecb --gamma_scale 100 --quadratic CA --quiet"
GRID = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""λ times the budget: the reward that a bill of the size of the budget has to make up for."""

RECENT_REQUESTS = 50


class VowpalSquareCb:
    """The library behind the peers' protocol."""

    def __init__(self, offer: Offer) -> None:
        vowpalwabbit: Any = import_module("vowpalwabbit")
        self._arms = len(offer.arm_ids)
        self._seed = offer.seed
        self._prices_per_usd = [step / offer.budget_usd for step in GRID]
        self._learners = [vowpalwabbit.Workspace(f"{ARGUMENTS} --random_seed {offer.seed}") for _ in GRID]
        self._purse = Purse(offer.typical_cost_usd)
        self._recent: deque[FloatArray] = deque(maxlen=RECENT_REQUESTS)
        self._probability = 1.0

    def begin(self, requests: int, money_usd: float) -> None:
        """See Peer."""
        self._purse.begin(requests, money_usd)

    def choose(self, request: Request) -> int:
        """See Peer."""
        self._purse.asked()
        example = self._example(request.context)
        shares = np.array([learner.predict(example) for learner in self._learners], dtype=np.float64)
        self._recent.append(shares)
        spends_usd = np.mean(self._recent, axis=0) @ self._purse.mean_bills_usd
        probabilities = mixture_at(spends_usd, self._purse.pace_usd) @ shares
        probabilities /= probabilities.sum()
        column = pick(probabilities.tolist(), uniform(self._seed, str(request.number)))
        self._probability = float(probabilities[column])
        return column

    def learn(self, request: Request, column: int, *, reward: float, cost_usd: float) -> None:
        """See Peer."""
        self._purse.billed(column, cost_usd)
        for learner, price_per_usd in zip(self._learners, self._prices_per_usd, strict=True):
            loss = min(1.0, max(-1.0, price_per_usd * cost_usd - reward))
            label = f"0:{loss:.6f}:{self._probability:.6g}"
            learner.learn(self._example(request.context, label=label, labelled=column))

    def _example(self, context: FloatArray, *, label: str = "", labelled: int = -1) -> list[str]:
        """The request in the library's text format: one shared line, then one line per arm."""
        shared = " ".join(f"{index}:{value:.6g}" for index, value in enumerate(context.tolist()))
        arms = [f"{label if column == labelled else ''} |A arm{column}" for column in range(self._arms)]
        return [f"shared |C {shared}", *arms]


def mixture_at(spends_usd: FloatArray, pace_usd: float) -> FloatArray:
    """Weights (G,) of at most two neighbours on the grid whose mean spend is the pace; `spends_usd` from λ = 0 up.

    The first that is affordable, mixed with the one before it; the last alone where none is.
    """
    mixture = np.zeros(len(spends_usd))
    affordable = np.flatnonzero(spends_usd <= pace_usd)
    first = int(affordable[0]) if len(affordable) else len(spends_usd) - 1
    mixture[first] = 1.0
    if first > 0 and len(affordable):
        share = (pace_usd - spends_usd[first]) / (spends_usd[first - 1] - spends_usd[first])
        mixture[first - 1], mixture[first] = share, 1.0 - share
    return mixture
