"""Whether an off-policy estimate can be trusted: refusals first, then figures to read beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray
from bandit_router_sim.ope.estimators import Rows

MIN_EFFECTIVE_ROWS = 200.0
MIN_EFFECTIVE_SHARE = 0.01
DEFAULT_P_MIN = 0.01
_ROW_SUM_SLACK = 1e-6
_CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class RefusedEstimate:
    """Why there is no estimate: a stable `code` and a `reason` in words. Only `few_effective_rows` can be forced."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """Outcome against prediction at the chosen arms, over observed rows.

    `slope`, `intercept` of the least-squares line (1 and 0 if calibrated), `bias` = mean(y − q̂), `bins`: (rows, mean
    prediction, mean outcome) in tenths by prediction, `error`: the mean absolute gap of the bins, by rows.
    """

    slope: float
    intercept: float
    bias: float
    error: float
    bins: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True)
class WeightFigures:
    """The weights w·m of one outcome's rows.

    `effective_rows`: (Σw)²/Σw², overall and per arm; `largest_share`: of the heaviest row in Σw; `mean_weight_z`:
    |mean w − 1| in standard errors (expected below 2 if propensities are right); `low_propensity_share`: of rows
    logged with p < p_min; `low_propensity_mass`: of the target's probability on such arms.
    """

    rows: int
    effective_rows: float
    effective_rows_by_arm: Mapping[str, float]
    largest_weight: float
    largest_share: float
    mean_weight: float
    mean_weight_z: float
    low_propensity_share: float
    low_propensity_mass: float


def check_support(log: DecisionLog, target: FloatArray) -> RefusedEstimate | None:
    """Why weights π/p cannot be formed at all, or None."""
    if not len(log):
        return RefusedEstimate("empty_log", "the log has no decisions")
    if target.shape != log.propensities.shape:
        return RefusedEstimate("wrong_shape", f"policy gives {target.shape}, the log needs {log.propensities.shape}")
    bad = _bad_rows(log.propensities)
    if bad:
        return RefusedEstimate("missing_propensities", f"{bad} of {len(log)} rows have no valid propensities")
    unlikely = int(np.sum(np.take_along_axis(log.propensities, log.actions[:, None], axis=1) <= 0.0))
    if unlikely:
        return RefusedEstimate("impossible_action", f"{unlikely} rows chose an arm that they give probability 0")
    bad = _bad_rows(target)
    if bad:
        return RefusedEstimate("undefined_policy", f"the policy is undefined in {bad} rows: quotes are missing there")
    return _unsupported(log, target)


def check_weights(rows: Rows, *, forced: bool) -> RefusedEstimate | None:
    """Why the weights are too uneven to be averaged, or None: under 200 effective rows, or under 1 % of the rows."""
    if not rows.observed_weights.any():
        return RefusedEstimate("no_outcomes", "no row has an outcome")
    effective = effective_rows(rows.weights * rows.observed_weights)
    least = max(MIN_EFFECTIVE_ROWS, MIN_EFFECTIVE_SHARE * len(rows))
    if effective >= least or forced:
        return None
    return RefusedEstimate(
        "few_effective_rows", f"{effective:.0f} effective rows of {len(rows)}; an estimate needs {least:.0f}"
    )


def effective_rows(weights: FloatArray) -> float:
    """(Σw)² / Σw² (Kish); 0 if nothing has weight."""
    square = float(weights @ weights)
    return float(weights.sum()) ** 2 / square if square > 0.0 else 0.0


def weight_figures(rows: Rows, log: DecisionLog, *, p_min: float = DEFAULT_P_MIN) -> WeightFigures:
    """Figures of the weights of `rows`, which are those of `log`."""
    weights = rows.weights * rows.observed_weights
    total = float(weights.sum())
    error = float(weights.std(ddof=1)) / math.sqrt(len(rows)) if len(rows) > 1 else math.nan
    gap = abs(float(weights.mean()) - 1.0)
    chosen = np.take_along_axis(rows.propensities, rows.actions[:, None], axis=1)
    return WeightFigures(
        rows=len(rows),
        effective_rows=effective_rows(weights),
        effective_rows_by_arm={
            arm_id: effective_rows(weights[rows.actions == column]) for column, arm_id in enumerate(log.arm_ids)
        },
        largest_weight=float(weights.max()),
        largest_share=float(weights.max()) / total if total > 0.0 else math.nan,
        mean_weight=float(weights.mean()),
        mean_weight_z=gap / error if error > 0.0 else 0.0,
        low_propensity_share=float(np.mean(chosen < p_min)),
        low_propensity_mass=float(np.sum(rows.target * (rows.propensities < p_min)) / len(rows)),
    )


def calibration(rows: Rows) -> Calibration:
    """How the predictions of `rows` compare with what was observed."""
    seen = rows.observed_weights > 0.0
    outcomes = rows.outcomes[seen]
    predicted = outcomes - rows.residuals[seen]
    spread = float(predicted.var())
    slope = float(np.cov(predicted, outcomes, bias=True)[0, 1]) / spread if spread > 0.0 else math.nan
    parts = np.array_split(np.argsort(predicted, kind="stable"), min(_CALIBRATION_BINS, len(predicted)))
    bins = tuple((len(part), float(predicted[part].mean()), float(outcomes[part].mean())) for part in parts)
    return Calibration(
        slope=slope,
        intercept=float(outcomes.mean()) - slope * float(predicted.mean()),
        bias=float(outcomes.mean() - predicted.mean()),
        error=sum(count * abs(guess - truth) for count, guess, truth in bins) / len(predicted),
        bins=bins,
    )


def _bad_rows(probabilities: FloatArray) -> int:
    """Rows that are not a probability distribution."""
    fine = np.isfinite(probabilities).all(axis=1) & (probabilities >= 0.0).all(axis=1)
    fine &= np.abs(probabilities.sum(axis=1) - 1.0) < _ROW_SUM_SLACK
    return int(np.sum(~fine))


def _unsupported(log: DecisionLog, target: FloatArray) -> RefusedEstimate | None:
    outside = (target > 0.0) & (log.propensities <= 0.0)
    if not outside.any():
        return None
    arms = [arm_id for arm_id, column in zip(log.arm_ids, outside.T, strict=True) if column.any()]
    return RefusedEstimate(
        "no_support",
        f"in {int(outside.any(axis=1).sum())} of {len(log)} rows the policy would choose {', '.join(arms)}, "
        "which could not be chosen when the log was made",
    )
