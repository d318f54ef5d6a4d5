"""A decision log in memory: one row per decision, joined with its outcome; what off-policy evaluation reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class DecisionLog:
    """n decisions over the K arms that occur in them, in the order in which they were made.

    `contexts` (n, d); `feasible` (n, K): could be chosen; `propensities` (n, K): the probability of every arm (0
    where infeasible, rows sum to 1); `actions` (n,): column of the chosen arm; `rewards` (n,): NaN where none came;
    `costs_usd` (n,): NaN where no bill came; `expected_rewards`, `expected_costs_usd` (n, K): the quotes, NaN where
    an arm had none; `prices_per_usd` (n,): λ; `decided_ms`, `observed_ms` (n,): when it was decided and when its last
    outcome came (-1: none); `sessions` (n,): cluster labels for intervals ('' where not given).
    """

    name: str
    arm_ids: tuple[str, ...]
    decision_ids: tuple[str, ...]
    tenant_ids: tuple[str, ...]
    contexts: FloatArray
    feasible: BoolArray
    propensities: FloatArray
    actions: IndexArray
    rewards: FloatArray
    costs_usd: FloatArray
    expected_rewards: FloatArray
    expected_costs_usd: FloatArray
    prices_per_usd: FloatArray
    decided_ms: IndexArray
    observed_ms: IndexArray
    sessions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.decision_ids)
