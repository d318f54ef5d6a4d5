"""ParetoBandit's shipped priors as the prior of a pool of the product, whose embeddings are that package's features.

The package ships, of 8,373 labelled prompts, what a ridge regression per arm keeps: A (26, 26), precision in units
of the reward noise times .1 (its `plasticity`), and b = Aθ, in its own whitened coordinates with the intercept
last. A pool's context has the intercept first, then the prompt's length, of which these priors say next to nothing,
and its embedding at a mean squared norm near 1. So nothing is fitted here: coordinates change their order and
scale. The package counts its priors 1.4 times, the product once at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior import ArmPrior
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.paretobandit import MODULE

COORDINATES = 25
_SCALE = COORDINATES**0.5
_LENGTH = 1
_LENGTH_PRECISION = 1e-3


def embeddings_of(features: FloatArray) -> FloatArray:
    """Embeddings (n, 25) of a pool from the package's features (n, 26), intercept first."""
    return np.asarray(features[:, 1:] / _SCALE)


def shipped_prior(arm_ids: Sequence[str]) -> PoolPrior:
    """What the package ships about those of these arms that it knows, for a pool of such embeddings."""
    import joblib

    spec = find_spec(MODULE)
    assert spec is not None, "the package is not installed"
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "artifacts" / f"priors_k3_{COORDINATES}comp.joblib"
    shipped: dict[str, Any] = joblib.load(path)
    assert shipped["pca_whitened"], "the features are whitened"
    arms = {
        arm_id: _in_a_pool(shipped["A"][arm_id], shipped["b"][arm_id]) for arm_id in arm_ids if arm_id in shipped["A"]
    }
    return PoolPrior(encoder_id=f"vector:{COORDINATES}", dimension=COORDINATES, arms=arms)


def _in_a_pool(precision: FloatArray, moment: FloatArray) -> ArmPrior:
    """From A and b (26, intercept last) to a pool's coordinates (27)."""
    places = [*range(_LENGTH + 1, _LENGTH + 1 + COORDINATES), 0]
    scales = np.array([_SCALE] * COORDINATES + [1.0])
    mean = np.zeros(_LENGTH + 1 + COORDINATES)
    mean[places] = np.linalg.solve(precision, moment) * scales
    information = np.zeros((len(mean), len(mean)))
    information[np.ix_(places, places)] = precision / np.outer(scales, scales)
    information[_LENGTH, _LENGTH] = _LENGTH_PRECISION
    return ArmPrior(mean, 0.5 * (information + information.T))
