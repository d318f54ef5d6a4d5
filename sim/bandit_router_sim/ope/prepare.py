"""What every evaluation on one log shares: who was observed, the cross-fitted models, and the clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray, IndexArray
from bandit_router_sim.ope.diagnostics import DEFAULT_P_MIN
from bandit_router_sim.ope.estimators import Rows
from bandit_router_sim.ope.intervals import DEFAULT_LEVEL, DEFAULT_RESAMPLES, clusters_of
from bandit_router_sim.ope.missing import Observation, matured, observe, rows_of
from bandit_router_sim.ope.outcome_models import (
    COST,
    DEFAULT_FOLDS,
    REWARD,
    Observations,
    OutcomeKind,
    cross_fitted,
    folds_of,
    predictable,
)


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate.

    `maturity_ms`: leave out decisions younger than this at `now_ms` (by default the log's last instant).
    `cost_bound_usd`: no call can cost more; without it there are no finite-sample intervals for cost.
    `is_forced`: give estimates even from few effective rows. `seed`: of the bootstrap and of replay.
    """

    level: float = DEFAULT_LEVEL
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0
    folds: int = DEFAULT_FOLDS
    p_min: float = DEFAULT_P_MIN
    maturity_ms: int | None = None
    now_ms: int | None = None
    cost_bound_usd: float | None = None
    is_forced: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PreparedOutcome:
    """One outcome of a log: what is known of it, who was observed, q̂ (n, K); `values` (n,) hold 0 where missing."""

    kind: OutcomeKind
    data: Observations
    observation: Observation
    values: FloatArray
    predictions: FloatArray

    def rows(self, target: FloatArray, log: DecisionLog, *, predictions: FloatArray | None = None) -> Rows:
        """The rows of `log` under the target probabilities (n, K), with other predictions where given."""
        return Rows(
            target=target,
            propensities=log.propensities,
            actions=log.actions,
            outcomes=self.values,
            observed_weights=self.observation.weights,
            predictions=self.predictions if predictions is None else predictions,
        )

    def predictable(self) -> FloatArray:
        """q̂ (n, K) from earlier rows only; the start is the middle of the range, or its lower end."""
        middle = 0.5 * (self.kind.low + self.kind.high) if np.isfinite(self.kind.high) else self.kind.low
        return predictable(self.data, self.kind, start=middle)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedLog:
    """The mature rows of a log (`kept`: their positions in it), with its reward and its cost ready for estimators."""

    log: DecisionLog
    kept: IndexArray
    options: Options
    clusters: IndexArray | None
    reward: PreparedOutcome
    cost: PreparedOutcome


def mature_rows(log: DecisionLog, options: Options) -> IndexArray:
    """Positions of the rows that `options` evaluates."""
    if options.maturity_ms is None or not len(log):
        return np.arange(len(log))
    return matured(log, maturity_ms=options.maturity_ms, now_ms=options.now_ms)


def prepare(log: DecisionLog, options: Options) -> PreparedLog:
    """Fit what policies share. The log needs at least one mature row."""
    kept = mature_rows(log, options)
    mature = rows_of(log, kept) if len(kept) < len(log) else log
    fold = folds_of(_fold_keys(mature.decision_ids, mature.sessions), options.folds)
    now_ms = options.now_ms
    if now_ms is None:
        now_ms = int(max(log.decided_ms.max(), log.observed_ms.max()))
    cost = COST if options.cost_bound_usd is None else replace(COST, high=options.cost_bound_usd)
    return PreparedLog(
        log=mature,
        kept=kept,
        options=options,
        clusters=clusters_of(mature.sessions),
        reward=_prepare_outcome(mature, mature.rewards, REWARD, fold, now_ms),
        cost=_prepare_outcome(mature, mature.costs_usd, cost, fold, now_ms),
    )


def _prepare_outcome(
    log: DecisionLog, outcomes: FloatArray, kind: OutcomeKind, fold: IndexArray, now_ms: int
) -> PreparedOutcome:
    data = Observations(log.contexts, log.actions, outcomes, len(log.arm_ids))
    return PreparedOutcome(
        kind=kind,
        data=data,
        observation=observe(log, outcomes, now_ms=now_ms),
        values=np.nan_to_num(outcomes, nan=0.0),
        predictions=cross_fitted(data, kind, fold),
    )


def _fold_keys(decision_ids: Sequence[str], sessions: Sequence[str]) -> list[str]:
    """Rows of one session share a fold: a model that saw one of them is not independent of the others."""
    return [session or decision_id for decision_id, session in zip(decision_ids, sessions, strict=True)]
