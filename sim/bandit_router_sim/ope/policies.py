"""Target policies: functions from what was known before n choices to the probabilities (n, K) of choosing each arm.

The family π_λ is the product's own: scores r̂ − λ·ĉ through `core.explorations.igw`, over the feasible
arms. Its quotes are those of the log; where a learner made them on its way, π_λ is the sequence of policies that this
learner went through, and its value is their mean over the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bandit_router.core.explorations.igw import IGW, inverse_gap_weights
from bandit_router_sim.logs.decisions import BoolArray, DecisionLog, FloatArray

DEFAULT_TAU = IGW.defaults["tau"]


@dataclass(frozen=True, slots=True, eq=False)
class Situations:
    """What n choices among K arms can depend on: contexts (n, d), quotes (n, K; NaN: none) and feasibility (n, K)."""

    contexts: FloatArray
    expected_rewards: FloatArray
    expected_costs_usd: FloatArray
    feasible: BoolArray

    @classmethod
    def of(cls, log: DecisionLog) -> Situations:
        """The situations of a log."""
        return cls(log.contexts, log.expected_rewards, log.expected_costs_usd, log.feasible)

    def __len__(self) -> int:
        return len(self.contexts)


class TargetPolicy(Protocol):
    """A policy to be evaluated. Rows of the result sum to 1; a row is NaN where the policy lacks what it needs."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def __call__(self, situations: Situations) -> FloatArray:
        """Choice probabilities (n, K)."""
        ...


@dataclass(frozen=True, slots=True)
class FixedMix:
    """Arms in fixed shares (K,), whatever the query, renormalised over the feasible arms.

    Where none of its arms is feasible the shares stay as they are: the log then has no support for the policy.
    """

    name: str
    shares: tuple[float, ...]

    def __call__(self, situations: Situations) -> FloatArray:
        """Choice probabilities (n, K)."""
        shares = np.array(self.shares) / sum(self.shares)
        allowed = np.where(situations.feasible, shares, 0.0)
        total = allowed.sum(axis=1, keepdims=True)
        return np.where(total > 0.0, allowed / np.where(total > 0.0, total, 1.0), shares)


def fixed_arm(arm_ids: Sequence[str], arm_id: str) -> FixedMix:
    """Always this arm. Raises KeyError for an arm that the log does not have."""
    if arm_id not in arm_ids:
        raise KeyError(f"no arm {arm_id!r}; the log has {', '.join(arm_ids)}")
    return FixedMix(name=f"always {arm_id}", shares=tuple(float(other == arm_id) for other in arm_ids))


def uniform_mix(arm_count: int) -> FixedMix:
    """All feasible arms alike."""
    return FixedMix(name="uniform", shares=(1.0 / arm_count,) * arm_count)


@dataclass(frozen=True, slots=True)
class PricedPolicy:
    """π_λ: inverse-gap weights, with `tau`, of r̂ − λ·ĉ over the feasible arms; λ = `price_per_usd`."""

    price_per_usd: float
    tau: float = DEFAULT_TAU

    @property
    def name(self) -> str:
        """The price and τ."""
        return f"price {self.price_per_usd:g} per USD, tau {self.tau:g}"

    def __call__(self, situations: Situations) -> FloatArray:
        """Choice probabilities (n, K); NaN in rows where a feasible arm has no quote."""
        scores = situations.expected_rewards - self.price_per_usd * situations.expected_costs_usd
        scores = np.where(situations.feasible, scores, -np.inf)
        known = np.isfinite(scores).any(axis=1) & ~np.isnan(scores).any(axis=1)
        weights = np.full(scores.shape, np.nan)
        if known.any():
            weights[known] = inverse_gap_weights(scores[known], self.tau)
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Probabilities (n, K) that are known row by row, such as those of the policy that made the log."""

    name: str
    probabilities: FloatArray

    def __call__(self, situations: Situations) -> FloatArray:
        """The recorded probabilities. Raises ValueError for situations of another length."""
        if len(situations) != len(self.probabilities):
            raise ValueError(f"{self.name}: recorded for {len(self.probabilities)} rows, asked for {len(situations)}")
        return self.probabilities


def logging_policy(log: DecisionLog) -> Recorded:
    """The policy that made the log; its value is that of the log itself."""
    return Recorded(name="logging policy", probabilities=log.propensities)
