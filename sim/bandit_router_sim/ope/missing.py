"""Missing outcomes: a missing reward is not a reward of zero.

Either only requests old enough to have their reward are kept (`matured`), or observed rows are weighted by
1/ê(observed | x, A, age), or both. ê is a logistic regression with a slight ridge, solved by Newton's method. This is
right when, given the context, the arm and the age, a missing reward would have been like an observed one (missing at
random); nothing in a log can confirm that, so the missing rate of every arm is part of every report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from bandit_router_sim.logs.decisions import BoolArray, DecisionLog, FloatArray, IndexArray

SMALLEST_CHANCE = 0.01
_NEWTON_STEPS = 50
_CONVERGED = 1e-9
_RIDGE = 1.0
_MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Which outcomes came: `observed` (n,), `chances` (n,): ê, at least 0.01, and the share of rows raised to it."""

    observed: BoolArray
    chances: FloatArray
    raised_share: float

    @property
    def weights(self) -> FloatArray:
        """1/ê where observed, 0 where missing; (n,)."""
        return np.where(self.observed, 1.0 / self.chances, 0.0)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return bool(self.observed.all())


def observe(log: DecisionLog, outcomes: FloatArray, *, now_ms: int | None = None) -> Observation:
    """Who was observed, and with what estimated probability; outcomes (n,) with NaN where missing.

    Ages are counted to `now_ms`, by default the last instant in the log.
    """
    observed = np.isfinite(outcomes)
    if observed.all() or not observed.any():
        return Observation(observed, np.ones(len(log)), 0.0)
    fitted = logistic_probabilities(_features(log, now_ms), observed)
    return Observation(observed, np.maximum(fitted, SMALLEST_CHANCE), float(np.mean(fitted < SMALLEST_CHANCE)))


def matured(log: DecisionLog, *, maturity_ms: int, now_ms: int | None = None) -> IndexArray:
    """Positions of the decisions that are at least `maturity_ms` old: chosen by time, not by outcome."""
    return np.flatnonzero(ages_ms(log, now_ms) >= maturity_ms)


def ages_ms(log: DecisionLog, now_ms: int | None = None) -> IndexArray:
    """Age (n,) of each decision at `now_ms`, by default the last instant in the log; never negative."""
    now = int(max(log.decided_ms.max(), log.observed_ms.max())) if now_ms is None else now_ms
    return np.maximum(now - log.decided_ms, 0)


def rows_of(log: DecisionLog, index: IndexArray) -> DecisionLog:
    """The log of the decisions at `index`, in that order."""

    def pick(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values[i] for i in index)

    return replace(
        log,
        decision_ids=pick(log.decision_ids),
        tenant_ids=pick(log.tenant_ids),
        sessions=pick(log.sessions),
        contexts=log.contexts[index],
        feasible=log.feasible[index],
        propensities=log.propensities[index],
        actions=log.actions[index],
        rewards=log.rewards[index],
        costs_usd=log.costs_usd[index],
        expected_rewards=log.expected_rewards[index],
        expected_costs_usd=log.expected_costs_usd[index],
        prices_per_usd=log.prices_per_usd[index],
        decided_ms=log.decided_ms[index],
        observed_ms=log.observed_ms[index],
    )


def missing_rates(log: DecisionLog, outcomes: FloatArray) -> Mapping[str, float]:
    """Share of each arm's decisions whose outcome is missing; NaN for an arm that was never chosen."""
    missing = ~np.isfinite(outcomes)
    chosen = [log.actions == column for column in range(len(log.arm_ids))]
    return {
        arm_id: float(missing[rows].mean()) if rows.any() else float("nan")
        for arm_id, rows in zip(log.arm_ids, chosen, strict=True)
    }


def logistic_probabilities(features: FloatArray, happened: BoolArray) -> FloatArray:
    """P(happened | features) (n,): logistic regression of happened (n,) on features (n, p) and an intercept.

    Columns are standardised; the ridge is that of a standard normal prior on the slopes, none on the intercept.
    """
    design = np.column_stack([np.ones(len(features)), _standardised(features)])
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = 0.0
    coefficients = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        chances = expit(design @ coefficients)
        gradient = design.T @ (happened - chances) - ridge * coefficients
        curvature = (design * (chances * (1.0 - chances))[:, None]).T @ design + np.diag(ridge + _CONVERGED)
        step = np.linalg.solve(curvature, gradient)
        coefficients += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < _CONVERGED:
            break
    fitted: FloatArray = expit(design @ coefficients)
    return fitted


def _features(log: DecisionLog, now_ms: int | None) -> FloatArray:
    arms = np.eye(len(log.arm_ids))[log.actions]
    return np.column_stack([log.contexts, arms, np.log1p(ages_ms(log, now_ms) / _MS_PER_S)])


def _standardised(features: FloatArray) -> FloatArray:
    spread = features.std(axis=0)
    varying = spread > 0.0
    scaled: FloatArray = (features[:, varying] - features[:, varying].mean(axis=0)) / spread[varying]
    return scaled
