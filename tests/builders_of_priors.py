"""Priors of a small pool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior import ArmPrior


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
