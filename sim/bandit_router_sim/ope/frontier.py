"""What a budget would buy, read from a grid of prices.

A policy that keeps a budget depends on its own past, so its log weights are not π(A|x)/p(A|x) of any fixed π, and the
product of all past ratios would be hopeless. Instead every member of the family π_λ is evaluated, which is memoryless:
V_r(λ) and V_c(λ). A budget b is read between the two neighbouring prices whose costs enclose it, linearly:

    θ = (V_c(λ_i) − b) / (V_c(λ_i) − V_c(λ_{i+1})),     reward = (1 − θ) V_r(λ_i) + θ V_r(λ_{i+1})

which is exactly the value of using π at λ_{i+1} with probability θ and at λ_i otherwise. A budget above V_c at the
lowest price buys that policy; one below V_c at the highest is out of the grid's reach. The interval resamples requests
with their rewards and costs together and reads every replicate anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray, IndexArray
from bandit_router_sim.ope.diagnostics import RefusedEstimate, check_support, check_weights
from bandit_router_sim.ope.estimators import DEFAULT_ESTIMATOR, Estimate, estimator_with_intervals
from bandit_router_sim.ope.intervals import Interval, bootstrap_values, percentile_interval
from bandit_router_sim.ope.missing import rows_of
from bandit_router_sim.ope.plain import as_plain
from bandit_router_sim.ope.policies import DEFAULT_TAU, PricedPolicy, Situations
from bandit_router_sim.ope.prepare import Options, PreparedLog, mature_rows, prepare


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """V_r and V_c at one price; `refusal`: why they should not be trusted, or None."""

    price_per_usd: float
    reward: float
    cost_usd: float
    reward_interval: Interval
    cost_interval: Interval
    refusal: RefusedEstimate | None


@dataclass(frozen=True, slots=True)
class BudgetReading:
    """Reward at V_c = budget, or why there is none. `unreached_share`: of replicates in which the grid falls short."""

    budget_usd: float
    reward: float
    interval: Interval | None
    unreached_share: float
    refusal: RefusedEstimate | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """The grid, lowest price first, and the bootstrap replicates (B, L) of its rewards and costs.

    Where `refusal` is set the weights could not be formed and there are no points.
    """

    estimator: str
    level: float
    points: tuple[FrontierPoint, ...]
    rewards: FloatArray
    costs_usd: FloatArray
    refusal: RefusedEstimate | None = None

    def read(self, budget_usd: float) -> BudgetReading:
        """Reward per request at `budget_usd` per request; refused out of reach or where it rests on a refused point."""
        refusal = self.refusal or self._refusal_at(budget_usd)
        if refusal is not None:
            return BudgetReading(budget_usd, math.nan, None, math.nan, refusal)
        replicates = _rewards_at(self.costs_usd, self.rewards, budget_usd)
        rewards = np.array([[point.reward for point in self.points]])
        return BudgetReading(
            budget_usd=budget_usd,
            reward=float(_rewards_at(self._costs(), rewards, budget_usd)[0]),
            interval=percentile_interval(replicates, level=self.level),
            unreached_share=float(np.isnan(replicates).mean()),
        )

    def _costs(self) -> FloatArray:
        return np.array([[point.cost_usd for point in self.points]])

    def _refusal_at(self, budget_usd: float) -> RefusedEstimate | None:
        last = int(_last_above(self._costs(), budget_usd)[0])
        if last == len(self.points) - 1:
            highest = self.points[-1].price_per_usd
            return RefusedEstimate("out_of_reach", f"at price {highest:g} the cost is still above {budget_usd:g} USD")
        used = self.points[:1] if last < 0 else self.points[last : last + 2]
        return next((point.refusal for point in used if point.refusal), None)

    def as_dict(self, budgets_usd: Sequence[float] = ()) -> dict[str, Any]:
        """JSON values: the points, and the readings at the budgets."""
        return {
            "estimator": self.estimator,
            "refusal": as_plain(self.refusal),
            "points": as_plain(self.points),
            "budgets": [as_plain(self.read(budget)) for budget in budgets_usd],
        }


def frontier(
    log: DecisionLog,
    prices_per_usd: Sequence[float],
    options: Options | None = None,
    *,
    tau: float = DEFAULT_TAU,
    estimator: str = DEFAULT_ESTIMATOR,
) -> Frontier:
    """Evaluate π_λ at each price (at least one, in any order); refused where no weights can be formed.

    Raises ValueError for an estimator without intervals of its own.
    """
    options = options or Options()
    kept = mature_rows(log, options)
    mature = rows_of(log, kept)
    prices = sorted(prices_per_usd)
    targets = [PricedPolicy(price, tau)(Situations.of(mature)) for price in prices]
    for target in targets:
        refusal = check_support(mature, target)
        if refusal is not None:
            empty = np.empty((0, 0))
            return Frontier(estimator, options.level, (), empty, empty, refusal)
    return _frontier(prepare(log, options), prices, targets, estimator)


def _frontier(
    prepared: PreparedLog, prices: Sequence[float], targets: Sequence[FloatArray], estimator: str
) -> Frontier:
    options = prepared.options
    estimate = estimator_with_intervals(estimator)
    estimates: list[Estimate] = []
    refusals: list[RefusedEstimate | None] = []
    for target in targets:
        rows = [outcome.rows(target, prepared.log) for outcome in (prepared.reward, prepared.cost)]
        found = [check_weights(part, forced=options.is_forced) for part in rows]
        refusals.append(found[0] or found[1])
        estimates.extend(estimate(part) for part in rows)
    replicates = bootstrap_values(estimates, seed=options.seed, resamples=options.resamples, clusters=prepared.clusters)
    rewards, costs = replicates[:, 0::2], replicates[:, 1::2]
    points = tuple(
        FrontierPoint(
            price_per_usd=price,
            reward=estimates[2 * index].value,
            cost_usd=estimates[2 * index + 1].value,
            reward_interval=percentile_interval(rewards[:, index], level=options.level),
            cost_interval=percentile_interval(costs[:, index], level=options.level),
            refusal=refusals[index],
        )
        for index, price in enumerate(prices)
    )
    return Frontier(estimator, options.level, points, rewards, costs)


def _last_above(costs: FloatArray, budget: float) -> IndexArray:
    """Per row of costs (B, L), the last price at which the cost is above the budget; −1 if at none."""
    above = costs > budget
    last = costs.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)
    return np.where(above.any(axis=1), last, -1)


def _rewards_at(costs: FloatArray, rewards: FloatArray, budget: float) -> FloatArray:
    """The reading of each row (B,); NaN where the highest price still costs more than the budget."""
    rows = np.arange(len(costs))
    index = _last_above(costs, budget)
    left = np.clip(index, 0, costs.shape[1] - 2) if costs.shape[1] > 1 else np.zeros_like(index)
    right = np.minimum(left + 1, costs.shape[1] - 1)
    span = costs[rows, left] - costs[rows, right]
    share = np.clip((costs[rows, left] - budget) / np.where(span > 0.0, span, np.inf), 0.0, 1.0)
    between = (1.0 - share) * rewards[rows, left] + share * rewards[rows, right]
    reading = np.where(index < 0, rewards[:, 0], between)
    return np.where(index == costs.shape[1] - 1, np.nan, reading)
