"""One policy on one log: all estimators for reward and for cost, their intervals, and what speaks against them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit_router.core.draw import uniform
from bandit_router_sim.logs.decisions import DecisionLog, FloatArray
from bandit_router_sim.ope.anticipated import anticipated_variance
from bandit_router_sim.ope.diagnostics import (
    Calibration,
    RefusedEstimate,
    WeightFigures,
    calibration,
    check_support,
    check_weights,
    weight_figures,
)
from bandit_router_sim.ope.estimators import ESTIMATORS, MODEL_LED, Estimate, Rows, dr, ips, replay
from bandit_router_sim.ope.intervals import (
    Interval,
    bernstein_interval,
    bootstrap_values,
    dr_bounds,
    ips_bounds,
    normal_interval,
    percentile_interval,
    sequence_interval,
)
from bandit_router_sim.ope.missing import missing_rates, rows_of
from bandit_router_sim.ope.outcome_models import REWARD
from bandit_router_sim.ope.plain import as_plain
from bandit_router_sim.ope.policies import Situations, TargetPolicy
from bandit_router_sim.ope.prepare import Options, PreparedLog, PreparedOutcome, mature_rows, prepare

ESTIMAND = "mean over the distribution from which the logged requests were drawn"
_PROPENSITY_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Reading:
    """A point estimate, its intervals, and the clipping, switching or shrinkage it was computed with (else NaN).

    Estimators led by the model (DM, SWITCH-DR, DRos) have the intervals of DR, moved to where they are: their own
    deviations take q̂ for the truth, and intervals made of them hold it far less often than they claim.
    """

    value: float
    normal: Interval
    bootstrap: Interval
    parameter: float


@dataclass(frozen=True, slots=True)
class OutcomeEvaluation:
    """Everything about one outcome. Where `refusal` is set there are no readings.

    `guaranteed`: intervals without asymptotics (empirical Bernstein for IPS, confidence sequences for IPS and DR), or
    `not_guaranteed_because`. `snips_dr_gap`: SNIPS − DR; large beside their intervals if q̂ or the propensities are off.
    """

    outcome: str
    refusal: RefusedEstimate | None
    readings: Mapping[str, Reading]
    guaranteed: Mapping[str, Interval]
    not_guaranteed_because: str
    snips_dr_gap: float
    weights: WeightFigures | None
    calibration: Calibration | None
    missing_rate_by_arm: Mapping[str, float]
    raised_chance_share: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A policy's reward and cost per request. Where `refusal` is set the weights could not be formed at all."""

    policy: str
    log: str
    rows: int
    estimand: str
    refusal: RefusedEstimate | None
    reward: OutcomeEvaluation | None
    cost: OutcomeEvaluation | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; None where there is no number."""
        plain: dict[str, Any] = as_plain(self)
        return plain


def evaluate(log: DecisionLog, policy: TargetPolicy, options: Options | None = None) -> Evaluation:
    """Evaluate `policy` on `log`. What cannot be estimated is refused with its reason, never estimated silently."""
    options = options or Options()
    kept = mature_rows(log, options)
    mature = rows_of(log, kept)
    target = policy(Situations.of(log))
    refusal = check_support(mature, target[kept] if len(target) == len(log) else target)
    if refusal is not None:
        return Evaluation(policy.name, log.name, len(kept), ESTIMAND, refusal, None, None)
    return evaluate_prepared(prepare(log, options), target[kept], name=policy.name)


def evaluate_prepared(prepared: PreparedLog, target: FloatArray, *, name: str) -> Evaluation:
    """Evaluate target probabilities (n, K) over the mature rows of a log that was prepared before."""
    refusal = check_support(prepared.log, target)
    reward = cost = None
    if refusal is None:
        reward = _evaluate_outcome(prepared, prepared.reward, target)
        cost = _evaluate_outcome(prepared, prepared.cost, target)
    return Evaluation(name, prepared.log.name, len(prepared.log), ESTIMAND, refusal, reward, cost)


def _evaluate_outcome(prepared: PreparedLog, outcome: PreparedOutcome, target: FloatArray) -> OutcomeEvaluation:
    rows = outcome.rows(target, prepared.log)
    refusal = check_weights(rows, forced=prepared.options.is_forced)
    estimates = {} if refusal else _estimates(prepared, rows)
    reason = "" if estimates else "refused"
    reason = reason or _no_guarantee(prepared, outcome)
    return OutcomeEvaluation(
        outcome=outcome.kind.name,
        refusal=refusal,
        readings=_readings(prepared, estimates, least_variance=_least_variance(outcome, rows)),
        guaranteed={} if reason else _guaranteed(prepared, outcome, target),
        not_guaranteed_because=reason,
        snips_dr_gap=estimates["snips"].value - estimates["dr"].value if estimates else math.nan,
        weights=weight_figures(rows, prepared.log, p_min=prepared.options.p_min),
        calibration=calibration(rows) if outcome.observation.observed.any() else None,
        missing_rate_by_arm=missing_rates(prepared.log, outcome.data.outcomes),
        raised_chance_share=outcome.observation.raised_share,
    )


def _estimates(prepared: PreparedLog, rows: Rows) -> dict[str, Estimate]:
    estimates = {name: estimator(rows) for name, estimator in ESTIMATORS.items()}
    if _is_uniform(prepared.log):
        seed = prepared.options.seed
        draws = [uniform(seed, f"replay:{decision_id}") for decision_id in prepared.log.decision_ids]
        estimates["replay"] = replay(rows, np.array(draws))
    return estimates


def _is_uniform(log: DecisionLog) -> bool:
    """Whether every row chose among all arms alike, so that rejection keeps enough of them."""
    return bool(np.all(np.abs(log.propensities - 1.0 / len(log.arm_ids)) < _PROPENSITY_SLACK))


def _least_variance(outcome: PreparedOutcome, rows: Rows) -> float:
    """What DR's row values vary at least, of an outcome whose errors are alike on all requests: rewards'."""
    return anticipated_variance(rows) if outcome.kind is REWARD else 0.0


def _readings(prepared: PreparedLog, estimates: Mapping[str, Estimate], *, least_variance: float) -> dict[str, Reading]:
    if not estimates:
        return {}
    options, clusters = prepared.options, prepared.clusters
    replicates = bootstrap_values(
        list(estimates.values()), seed=options.seed, resamples=options.resamples, clusters=clusters
    )
    names = list(estimates)

    def read(name: str) -> Reading:
        estimate, source = estimates[name], "dr" if name in MODEL_LED else name
        shift = estimate.value - estimates[source].value
        row_values = estimates[source].row_values + shift
        return Reading(
            value=estimate.value,
            normal=normal_interval(
                row_values,
                level=options.level,
                clusters=clusters,
                least_variance=least_variance if source == "dr" else 0.0,
            ),
            bootstrap=percentile_interval(replicates[:, names.index(source)] + shift, level=options.level),
            parameter=estimate.parameter,
        )

    return {name: read(name) for name in names}


def _no_guarantee(prepared: PreparedLog, outcome: PreparedOutcome) -> str:
    """Why there are no finite-sample intervals, or ''."""
    if not outcome.observation.is_complete:
        return "outcomes are missing: 1/ê is an estimate, which these intervals do not cover"
    if prepared.clusters is not None:
        return "rows of a session depend on each other"
    if not math.isfinite(outcome.kind.high):
        return "no bound is known for this outcome"
    if outcome.values.max() > outcome.kind.high or outcome.values.min() < outcome.kind.low:
        return "an outcome lies outside its bounds"
    return ""


def _guaranteed(prepared: PreparedLog, outcome: PreparedOutcome, target: FloatArray) -> dict[str, Interval]:
    """Intervals from values with known bounds; DR uses models of earlier rows only, which makes its rows dependent."""
    level = prepared.options.level
    outcome_bounds = (outcome.kind.low, outcome.kind.high)
    rows = outcome.rows(target, prepared.log, predictions=outcome.predictable())
    weighted, robust = ips(rows).row_values, dr(rows).row_values
    weighted_bounds, robust_bounds = ips_bounds(rows, outcome_bounds), dr_bounds(rows, outcome_bounds)
    return {
        "bernstein_ips": bernstein_interval(weighted, weighted_bounds, level=level),
        "sequence_ips": sequence_interval(weighted, weighted_bounds, level=level),
        "sequence_dr": sequence_interval(robust, robust_bounds, level=level),
    }
