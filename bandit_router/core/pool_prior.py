"""A pool's prior: what is known of its arms' rewards before traffic, where it comes from, and whom it speaks for.

A prior is fitted offline (`core.preferences`) in the coordinates of one pool: same encoder, same dimension, same
declared features, and either the encoder's default projection or one that the prior brings along. Arms it has not seen
borrow from those it has: from arms of the same family and tier, else of the same family, else of the same tier. An arm
that nothing is known of keeps the learner's plain prior.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bandit_router.core.prior import ArmPrior, Priors
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm

LONE_RELATIVE = 0.5
"""What is left of the precision when only one arm is there to borrow from: how relatives differ is then unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolPrior:
    """Priors by arm id in the coordinates of a pool's contexts.

    `dimension`: of the projected embedding. `projection`: the one it was fitted in, if it is not the encoder's default;
    `projection_version`: that of the pool it is valid in, set when it is imported. `provenance`: facts about its origin
    (method, files, counts, held-out accuracy), for people. Raises ValueError if the parts do not fit together.
    """

    encoder_id: str
    dimension: int
    arms: Mapping[str, ArmPrior]
    features: tuple[str, ...] = ()
    projection: Projection | None = None
    projection_version: int = 0
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.arms:
            raise ValueError("a prior speaks of at least one arm")
        lengths = {prior.dimension for prior in self.arms.values()}
        if len(lengths) != 1:
            raise ValueError(f"arms have contexts of different lengths: {sorted(lengths)}")
        if self.projection is not None and self.projection.dim_out != self.dimension:
            raise ValueError(f"the projection makes {self.projection.dim_out} coordinates, not {self.dimension}")
        shared = [prior.relative.shared for prior in self.arms.values() if prior.relative is not None]
        if not all(np.array_equal(covariance, shared[0]) for covariance in shared):
            raise ValueError("relative parts must all have the same shared covariance")

    @property
    def context_length(self) -> int:
        """Length of the contexts that the arms' priors are about."""
        return next(iter(self.arms.values())).dimension

    @property
    def shared(self) -> FloatArray | None:
        """Covariance (d, d) of the error that all relative parts share; None if there are none."""
        return next((prior.relative.shared for prior in self.arms.values() if prior.relative is not None), None)


def priors_for(prior: PoolPrior, arms: Sequence[Arm]) -> Priors:
    """A prior for every arm that the pool's prior knows, or that has a relative which it knows."""
    known = [arm for arm in arms if arm.arm_id in prior.arms]
    found = {arm.arm_id: prior.arms[arm.arm_id] for arm in known}
    for arm in arms:
        if arm.arm_id not in found and (relatives := _relatives(arm, known)):
            found[arm.arm_id] = borrowed([prior.arms[relative.arm_id] for relative in relatives])
    return found


def borrowed(relatives: Sequence[ArmPrior]) -> ArmPrior:
    """The prior of an arm like these (at least one): their mean, as uncertain as they are and as they differ.

    The covariance of a new member is the mean of the members' covariances plus the spread of their means along each
    coordinate (law of total variance); coordinates are taken as independent in the spread, of which there are few
    samples. What is borrowed is marginal: it counts as known independently of other arms.
    """
    if len(relatives) == 1:
        return ArmPrior(relatives[0].mean, LONE_RELATIVE * relatives[0].precision)
    means = np.array([relative.mean for relative in relatives])
    covariance = np.mean([np.linalg.inv(relative.precision) for relative in relatives], axis=0)
    precision = np.linalg.inv(covariance + np.diag(means.var(axis=0, ddof=1)))
    return ArmPrior(means.mean(axis=0), 0.5 * (precision + precision.T))


def worth_of_rewards(prior: ArmPrior) -> float:
    """So many rewards of the average query would say as much of its expected reward: 1 / Var θ₀ in units of noise."""
    return float(1.0 / np.linalg.inv(prior.precision)[0, 0])


def _relatives(arm: Arm, known: Iterable[Arm]) -> list[Arm]:
    """Known arms that are closest to this one by what people have said of them."""
    same_family = [other for other in known if arm.family and other.family == arm.family]
    same_tier = [other for other in known if arm.tier and other.tier == arm.tier]
    both = [other for other in same_family if other in same_tier]
    return both or same_family or same_tier
