"""The quality of each budget, with intervals, and readings of it in both directions.

A full-information log is replayed through the product's services at every budget of a grid in the same seeded orders;
the points are budgets, since a replay may spend less than it has but never more. A decision log cannot be replayed;
there the points are members π_λ of the priced family with the money that they cost (`ope.frontier`), and points that
rest on too few effective rows are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from bandit_router_sim.logs.cost_range import cost_range_usd
from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.logs.full import BoolArray, FloatArray, FullLog
from bandit_router_sim.ope.diagnostics import RefusedEstimate
from bandit_router_sim.ope.frontier import Frontier, frontier
from bandit_router_sim.ope.plain import as_plain
from bandit_router_sim.ope.policies import DEFAULT_TAU
from bandit_router_sim.ope.prepare import Options
from bandit_router_sim.pigeonhole import central, replicate_means
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.setting import Material, Policy, Setting
from bandit_router_sim.replay.sweep import replay_one
from bandit_router_sim.tune.reading import Advice, Curve, budget_for, quality_of
from bandit_router_sim.tune.spread import run_all

REPLAYED = "replays through the router's services; quality after the learning stretch"
PRICED = "off-policy values of the priced family; money is what its members cost"
PRICES = 25
_PRICE_REACH = 100.0
_LEAST_POINTS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """Quality per request with its 95 % interval at `usd` per request, of which `spend_usd` was spent."""

    usd: float
    quality: float
    low: float
    high: float
    spend_usd: float
    refusals: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class QualityOfMoney:
    """A tenant's frontier by rising money; `left_out`: points that could not be trusted, and why."""

    log: str
    method: str
    points: tuple[Point, ...]
    curve: Curve
    left_out: tuple[tuple[float, str], ...] = ()

    def quality_of(self, budget_usd: float) -> Advice:
        """The quality that a budget buys."""
        return quality_of(self.curve, budget_usd)

    def budget_for(self, quality: float) -> Advice:
        """The least budget that buys a quality."""
        return budget_for(self.curve, quality)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "log": self.log,
            "method": self.method,
            "points": as_plain(self.points),
            "left_out": [{"price_per_usd": price, "reason": reason} for price, reason in self.left_out],
        }


class NoFrontier(ValueError):
    """The log does not support one; `refusal` says why."""

    def __init__(self, refusal: RefusedEstimate) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def budget_grid(log: FullLog, count: int) -> list[float]:
    """Budgets per request at even ratios from the cheapest to the dearest arm's mean cost."""
    low_usd, high_usd = cost_range_usd(log)
    return [float(budget) for budget in np.geomspace(low_usd, high_usd, count)]


def replayed(
    material: Material,
    policy: Policy,
    budgets_usd: Sequence[float],
    *,
    seeds: int,
    learn_share: float,
    jobs: int = 1,
    console: Console | None = None,
) -> QualityOfMoney:
    """The frontier of a full-information log: every budget in the orders of the same seeds."""
    budgets = sorted(budgets_usd)
    settings = [Setting(policy, budget, seed, learn_share=learn_share) for budget in budgets for seed in range(seeds)]
    results = run_all(partial(replay_one, material), settings, jobs=jobs, label=material.log.name, console=console)
    groups = [results[start : start + seeds] for start in range(0, len(results), seeds)]
    rewards, present = zip(*[by_query(group, len(material.log)) for group in groups], strict=True)
    replicates = replicate_means(np.stack(rewards), present[0])
    points = [
        _point(budget, group, column) for budget, group, column in zip(budgets, groups, replicates.T, strict=True)
    ]
    usd = np.array(budgets)
    curve = Curve(usd, np.array([point.quality for point in points]), np.tile(usd, (len(replicates), 1)), replicates)
    return QualityOfMoney(material.log.name, REPLAYED, tuple(points), curve)


def by_query(results: Sequence[RunResult], queries: int) -> tuple[FloatArray, BoolArray]:
    """Rewards (orders, queries) of the reported requests, and which cells hold one."""
    rewards = np.zeros((len(results), queries))
    present = np.zeros(rewards.shape, dtype=np.bool_)
    for index, result in enumerate(results):
        reported = result.trace.is_reported
        rows = result.trace.rows[reported]
        rewards[index, rows], present[index, rows] = result.trace.rewards[reported], True
    return rewards, present


def evaluated(
    log: DecisionLog, *, tau: float = DEFAULT_TAU, options: Options | None = None, prices: int = PRICES
) -> QualityOfMoney:
    """The frontier of a decision log. Raises NoFrontier where fewer than two points can be trusted."""
    curve = frontier(log, price_grid(log, prices), options, tau=tau)
    if curve.refusal is not None:
        raise NoFrontier(curve.refusal)
    kept = [index for index, point in enumerate(curve.points) if point.refusal is None]
    if len(kept) < _LEAST_POINTS:
        refusals = [point.refusal for point in curve.points if point.refusal is not None]
        first = refusals[0].reason
        raise NoFrontier(
            RefusedEstimate("few_points", f"{len(kept)} of {len(curve.points)} prices can be evaluated; {first}")
        )
    return _from_prices(log.name, curve, kept)


def price_grid(log: DecisionLog, count: int) -> list[float]:
    """Zero, and prices at even ratios around the middle one in force while the log was made."""
    seen = log.prices_per_usd[log.prices_per_usd > 0.0]
    centre = float(np.median(seen)) if len(seen) else 100.0
    return [0.0, *np.geomspace(centre / _PRICE_REACH, centre * _PRICE_REACH, count - 1).tolist()]


def _from_prices(name: str, curve: Frontier, kept: list[int]) -> QualityOfMoney:
    by_money = sorted(kept, key=lambda index: curve.points[index].cost_usd)
    found = [curve.points[index] for index in by_money]
    points = [
        Point(point.cost_usd, point.reward, point.reward_interval.low, point.reward_interval.high, point.cost_usd)
        for point in found
    ]
    return QualityOfMoney(
        log=name,
        method=PRICED,
        points=tuple(points),
        curve=Curve(
            usd=np.array([point.usd for point in points]),
            quality=np.array([point.quality for point in points]),
            usd_replicates=curve.costs_usd[:, by_money],
            quality_replicates=curve.rewards[:, by_money],
        ),
        left_out=tuple((point.price_per_usd, point.refusal.reason) for point in curve.points if point.refusal),
    )


def _point(budget_usd: float, results: Sequence[RunResult], replicates: FloatArray) -> Point:
    low, high = central(replicates)
    return Point(
        usd=budget_usd,
        quality=float(np.mean([result.trace.rewards[result.trace.is_reported].mean() for result in results])),
        low=low,
        high=high,
        spend_usd=float(np.mean([result.trace.costs_usd[result.trace.is_reported].mean() for result in results])),
        refusals=float(np.mean([result.refusals for result in results])),
    )
