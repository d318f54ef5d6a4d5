"""`epoch_greedy`: explore once, exploit s times, with s growing (Langford and Zhang, 2007).

After n explored outcomes an epoch is one uniform choice and s(n) = c √n greedy ones, c the parameter `exploit`. Epochs
here are shares, not a count that replicas would have to agree on: a choice is uniform with probability 1 / (1 + s(n)),
where n solves n + Σ_{i ≤ n} s(i) = N for the N rewards that the pool has seen. Unlike the original, which learns from
the explored outcomes alone, the regressions use all of them.
"""

from __future__ import annotations

import math

from bandit_router.core.learners.gaussian import RIDGE, check_ridge, fit_gaussian, ridge_prior
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters
from bandit_router.core.spec import SpecError

_STEPS = 40


def _check(parameters: Parameters) -> None:
    check_ridge("epoch_greedy", parameters)
    if parameters["exploit"] <= 0.0:
        raise SpecError(f"epoch_greedy:exploit must be positive, got {parameters['exploit']:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    prior = ridge_prior(knowledge.state.dimension, parameters)
    rewards = sum(arm.reward.count for arm in knowledge.state.arms.values())
    return Fitted(
        fit_gaussian(knowledge, lambda _: prior), uniform_share=explored_share(rewards, exploit=parameters["exploit"])
    )


def explored_share(rewards: int, *, exploit: float) -> float:
    """The part of the choices that is uniform after so many rewards: all of them before the first."""
    low, high = 0.0, float(rewards)
    for _ in range(_STEPS):
        explored = 0.5 * (low + high)
        total = explored + exploit * explored**1.5 / 1.5
        low, high = (explored, high) if total < rewards else (low, explored)
    return 1.0 / (1.0 + exploit * math.sqrt(high))


EPOCH_GREEDY = Learner(defaults={"exploit": 1.0, **RIDGE}, check=_check, fit=_fit)
