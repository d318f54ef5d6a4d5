"""The adaptive router that LiteLLM publishes, from its published description; no code of it is used.

    https://docs.litellm.ai/docs/adaptive_router and litellm/router_strategy/adaptive_router/README.md

Seven request types; per (type, model) a Beta posterior with a prior of mass 10 whose mean is the declared quality
tier's (.3, .5, .7); a sample of quality q; the model of the largest .7 q + .3 (1 − cost on a linear scale from the
cheapest to the dearest model). Updates stop at a mass of 200. It knows no budget.

Where this differs from a deployment: tiers are declared by thirds of the arms in order of cost, no strengths are
declared, types come from `request_types`, and the feedback is the log's reward r (α += r, β += 1 − r, the partial
credit of its evaluation priors) in place of signals read out of the conversation.
"""

from __future__ import annotations

import numpy as np

from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.protocol import Offer, Request
from bandit_router_sim.peers.request_types import REQUEST_TYPES, request_type

QUALITY_WEIGHT = 0.7
TIER_MEANS = (0.3, 0.5, 0.7)
PRIOR_MASS = 10.0
MOST_MASS = 200.0


class LiteLlmAdaptive:
    """Thompson sampling per type of request, the cost as a fixed part of the score."""

    def __init__(self, offer: Offer) -> None:
        self._random = np.random.Generator(np.random.PCG64(offer.seed))
        self._cheapness = cheapness(offer.typical_cost_usd)
        means = tier_means(offer.typical_cost_usd)
        self._successes = np.tile(PRIOR_MASS * means, (len(REQUEST_TYPES), 1))
        self._failures = np.tile(PRIOR_MASS * (1.0 - means), (len(REQUEST_TYPES), 1))

    def begin(self, requests: int, money_usd: float) -> None:
        """See Peer; money means nothing to it."""

    def choose(self, request: Request) -> int:
        """See Peer."""
        kind = _type_index(request)
        quality = self._random.beta(self._successes[kind], self._failures[kind])
        return int(np.argmax(QUALITY_WEIGHT * quality + (1.0 - QUALITY_WEIGHT) * self._cheapness))

    def learn(self, request: Request, column: int, *, reward: float, cost_usd: float) -> None:  # noqa: ARG002
        """See Peer; the bill is not looked at."""
        kind = _type_index(request)
        if self._successes[kind, column] + self._failures[kind, column] + 1.0 <= MOST_MASS:
            self._successes[kind, column] += reward
            self._failures[kind, column] += 1.0 - reward


def cheapness(costs_usd: FloatArray) -> FloatArray:
    """1 for the cheapest arm, 0 for the dearest, linear between; ½ where they cost the same. Shape (K,)."""
    low, high = float(costs_usd.min()), float(costs_usd.max())
    if high == low:
        return np.full(len(costs_usd), 0.5)
    return np.asarray((high - costs_usd) / (high - low))


def tier_means(costs_usd: FloatArray) -> FloatArray:
    """Prior mean of quality by the arm's third in order of cost. Shape (K,)."""
    rank = np.argsort(np.argsort(costs_usd, kind="stable"), kind="stable")
    return np.asarray(TIER_MEANS)[rank * len(TIER_MEANS) // len(costs_usd)]


def _type_index(request: Request) -> int:
    return REQUEST_TYPES.index(request_type(request.prompt))
