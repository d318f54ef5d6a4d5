"""Priors of a small pool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.preferences.scores import with_scores
from bandit_router.core.prior import ArmPrior, Relative


def arm_prior(level: float, precision: float = 4.0, size: int = 4) -> ArmPrior:
    mean = np.linspace(level, level + 0.3, size)
    return ArmPrior(mean, precision * (np.eye(size) + 0.1))


def pool_prior(**changes: object) -> PoolPrior:
    prior = PoolPrior(
        encoder_id="static",
        dimension=2,
        arms={"small": arm_prior(0.5), "large": arm_prior(0.9)},
        provenance={"method": "bradley-terry"},
    )
    return replace(prior, **changes)  # type: ignore[arg-type]


def relative_arm(level: float, precision: float = 40.0, size: int = 4) -> ArmPrior:
    """An arm known by battles alone: far better beside others than alone."""
    mean = np.linspace(level, level + 0.3, size)
    return Relative(mean, precision * (np.eye(size) + 0.1), 0.5 * np.eye(size) + 0.05).alone()


def relative_prior(**changes: object) -> PoolPrior:
    """Of an arm known by battles, one by battles and scores, and one by scores."""
    arms = {
        "small": relative_arm(0.5),
        "large": with_scores(relative_arm(0.9), 2.0 * np.eye(4) + 0.1, np.linspace(1.6, 2.2, 4)),
        "scored": arm_prior(0.7),
    }
    return pool_prior(**{"arms": arms, **changes})
