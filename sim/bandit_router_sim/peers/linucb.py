"""LinUCB (Li et al., 2010) as MABWiser ships it: one ridge regression per arm, the width of confidence added.

    https://pypi.org/project/mabwiser (Apache-2.0), `LearningPolicy.LinUCB`

α = 0.1 as the product's default, ridge 1 (the library's inverse is right from the start only at 1). Each arm is tried
once before the library takes over, since it has to be fitted before it predicts.

Unpaced it is LinUCB and nothing else, whatever it costs. Paced, its bounds less λ times the arm's mean bill decide, and
λ is re-solved before every choice by the product's own `core.replan` on the bounds of recent requests: the library's
learner with the best budget wrapper at hand. (Re-solved every 20 requests it now and then spends all the money of a
stretch in one go.)
"""

from __future__ import annotations

from collections import deque
from importlib import import_module
from typing import Any

import numpy as np

from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.protocol import Offer, Request
from bandit_router_sim.peers.purse import Purse
from bandit_router_sim.references.paced import greedy_price

ALPHA = 0.1
RIDGE = 1.0
RECENT_REQUESTS = 200


class MabwiserLinUcb:
    """The library behind the peers' protocol."""

    def __init__(self, offer: Offer, *, paced: bool) -> None:
        mab: Any = import_module("mabwiser.mab")
        self._arms = len(offer.arm_ids)
        self._paced = paced
        self._purse = Purse(offer.typical_cost_usd)
        self._price_per_usd = 0.0
        self._recent: deque[FloatArray] = deque(maxlen=RECENT_REQUESTS)
        policy = mab.LearningPolicy.LinUCB(alpha=ALPHA, l2_lambda=RIDGE)
        self._bandit = mab.MAB(arms=list(range(self._arms)), learning_policy=policy, seed=offer.seed)
        self._tried = 0
        self._fitted = False

    def begin(self, requests: int, money_usd: float) -> None:
        """See Peer."""
        self._purse.begin(requests, money_usd)

    def choose(self, request: Request) -> int:
        """See Peer."""
        self._purse.asked()
        if self._tried < self._arms or not self._fitted:
            self._tried += 1
            return (self._tried - 1) % self._arms
        if not self._paced:
            return int(self._bandit.predict(_row(request)))
        found = self._bandit.predict_expectations(_row(request))
        bounds = np.array([found[column] for column in range(self._arms)], dtype=np.float64)
        self._recent.append(bounds)
        self._solve()
        return int(np.argmax(bounds - self._price_per_usd * self._purse.mean_bills_usd))

    def learn(self, request: Request, column: int, *, reward: float, cost_usd: float) -> None:
        """See Peer."""
        self._purse.billed(column, cost_usd)
        update = self._bandit.partial_fit if self._fitted else self._bandit.fit
        update([column], [reward], _row(request))
        self._fitted = True

    def _solve(self) -> None:
        bounds = np.array(self._recent)
        self._price_per_usd = greedy_price(
            bounds,
            np.tile(self._purse.mean_bills_usd, (len(bounds), 1)),
            pace_usd=self._purse.pace_usd,
            hint=self._price_per_usd,
        )


def _row(request: Request) -> FloatArray:
    return np.asarray(request.context[None, :])
