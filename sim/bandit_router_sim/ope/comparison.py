"""Two policies on one log: the difference of their values, which is known better than either of them."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router_sim.logs.decisions import FloatArray
from bandit_router_sim.ope.diagnostics import RefusedEstimate, check_support, check_weights
from bandit_router_sim.ope.estimators import DEFAULT_ESTIMATOR, Estimator, estimator_with_intervals
from bandit_router_sim.ope.intervals import Interval, bootstrap_values, normal_interval, percentile_interval
from bandit_router_sim.ope.prepare import PreparedLog, PreparedOutcome


@dataclass(frozen=True, slots=True)
class Difference:
    """Second policy minus first, for one outcome; NaN without intervals where `refusal` is set."""

    outcome: str
    value: float
    normal: Interval | None
    bootstrap: Interval | None
    refusal: RefusedEstimate | None = None


def compare(
    prepared: PreparedLog, first: FloatArray, second: FloatArray, *, estimator: str = DEFAULT_ESTIMATOR
) -> tuple[Difference, Difference]:
    """Differences in reward and in cost between target probabilities (n, K) over the mature rows (paired by row).

    Raises ValueError for an estimator without intervals of its own.
    """
    estimate = estimator_with_intervals(estimator)
    return (
        _difference(prepared, prepared.reward, first, second, estimate),
        _difference(prepared, prepared.cost, first, second, estimate),
    )


def _difference(
    prepared: PreparedLog, outcome: PreparedOutcome, first: FloatArray, second: FloatArray, estimate: Estimator
) -> Difference:
    name, options = outcome.kind.name, prepared.options
    for target in (first, second):
        refusal = check_support(prepared.log, target) or check_weights(
            outcome.rows(target, prepared.log), forced=options.is_forced
        )
        if refusal is not None:
            return Difference(name, float("nan"), None, None, refusal)
    before, after = (estimate(outcome.rows(target, prepared.log)) for target in (first, second))
    replicates = bootstrap_values(
        [before, after], seed=options.seed, resamples=options.resamples, clusters=prepared.clusters
    )
    change = after.row_values - before.row_values
    return Difference(
        outcome=name,
        value=after.value - before.value,
        normal=normal_interval(change, level=options.level, clusters=prepared.clusters),
        bootstrap=percentile_interval(replicates[:, 1] - replicates[:, 0], level=options.level),
    )
