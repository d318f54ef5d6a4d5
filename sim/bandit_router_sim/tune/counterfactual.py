"""A decision log lived through again under other limits, arms, prices or settings.

A policy that keeps a budget depends on its own past, so its value cannot be read from weights of one fixed policy.
Here the loop is closed: the product's services, on memory stores and a virtual clock, decide about the logged requests
in the logged order, learn and pay in the world of `tune.past`. That gives, for every request t, the probabilities
π_t(a) with which they would have chosen. Were the loop's past free of the outcome y_t,

    φ_t = Σ_a π_t(a) q̂_t(a) + π_t(A_t)/p_t(A_t) · (y_t − q̂_t(A_t))

would have the expected outcome of that step as its mean (doubly robust, for rewards and for bills; missing outcomes
weigh 0 and observed ones 1/ê). The mean of φ is reported, never the outcomes of the imputed world, which stand beside
it as what the loop itself saw. Exact up to the following, which the output repeats:

- the loop's past contains outcomes that models made up from the log, so it is a likely past and not the one;
- y_t is among them where row t lent its outcome to an earlier row (`tune.past`), and so the reading is too high for the
  loop that was lived, in a bare loop by .2 to .5 of its standard error. The lived loop, with fewer outcomes to learn
  from than calls, is worse by about as much than one that buys every outcome anew, whose value is asked for, so that
  together they were small beside the standard error (docs/decisions/0054-donors-of-matched-outcomes.md);
- refused requests earn and cost nothing, and requests that the log's own service refused are not in the log;
- where π_t gives chance to an arm that the log could not choose, only q̂ speaks: the interval is widened by what that
  chance could hide, and above 1 % of all chances there is no answer.

Intervals resample seeds and requests together (`tune.pigeonhole`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray
from bandit_router_sim.ope.diagnostics import (
    MIN_EFFECTIVE_ROWS,
    MIN_EFFECTIVE_SHARE,
    RefusedEstimate,
    effective_rows,
)
from bandit_router_sim.ope.estimators import dr
from bandit_router_sim.ope.plain import as_plain
from bandit_router_sim.pigeonhole import central, replicate_means
from bandit_router_sim.replay.engine import Replay
from bandit_router_sim.replay.result import REFUSED, RunResult
from bandit_router_sim.replay.scenario import Scenario
from bandit_router_sim.replay.setting import Policy, Setting
from bandit_router_sim.replay.stage import POOL_ID
from bandit_router_sim.replay.sweep import encoder_handle
from bandit_router_sim.tune.past import Past, material_of
from bandit_router_sim.tune.recorded import KEEP_ALL, chances_of, recorded_decisions
from bandit_router_sim.tune.spread import run_all

METHOD = (
    "closed loop of the router's services over the logged requests, learning and paying with matched outcomes; "
    "quality and spend are doubly robust readings of the logged outcomes along its choices"
)
MOST_UNSUPPORTED = 0.01
PATH_POINTS = 10


@dataclass(frozen=True, slots=True)
class Reading:
    """A mean per request with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What a budget would have brought per request. Where `refusal` is set, `quality` and `spend_usd` are None.

    `quality_in_loop`, `spend_usd_in_loop`: means that the loop saw in its own world, which models helped to make up.
    `price_path`: mean λ over the seeds in each tenth of the log; `unsupported`: share of the loop's chances on arms
    that the log could not choose; `arm_shares`: of the loop's chances, in the order of the log's arms.
    """

    budget_usd: float
    quality: Reading | None
    spend_usd: Reading | None
    quality_in_loop: float
    spend_usd_in_loop: float
    refusals: float
    price_path: tuple[float, ...]
    arm_shares: tuple[tuple[str, float], ...]
    effective_rows: float
    unsupported: float
    seeds: int
    rows: int
    refusal: RefusedEstimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        plain: dict[str, Any] = as_plain(self)
        return plain


@dataclass(frozen=True, slots=True, eq=False)
class Lived:
    """One loop, per request in the order of the log: π (n, K) over the log's arms, λ (n,), and the world's outcomes."""

    chances: FloatArray
    prices_per_usd: FloatArray
    rewards: FloatArray
    costs_usd: FloatArray
    refusals: int


def counterfactuals(
    past: Past,
    policy: Policy,
    budgets_usd: Sequence[float],
    *,
    seeds: int,
    is_forced: bool = False,
    jobs: int = 1,
    console: Console | None = None,
) -> list[Counterfactual]:
    """What each budget per request would have brought."""
    tasks = [(budget_usd, seed) for budget_usd in budgets_usd for seed in range(seeds)]
    lives = run_all(partial(_live, past, policy), tasks, jobs=jobs, label=past.log.name, console=console)
    groups = [lives[start : start + seeds] for start in range(0, len(lives), seeds)]
    pairs = zip(budgets_usd, groups, strict=True)
    return [_read(past, budget_usd, group, is_forced=is_forced) for budget_usd, group in pairs]


def live(past: Past, policy: Policy, budget_usd: float, *, seed: int) -> Lived:
    """One closed loop over the log, with a budget of `budget_usd` times its requests in one window."""
    return asyncio.run(_loop(past, policy, budget_usd, seed))


def _live(past: Past, policy: Policy, task: tuple[float, int]) -> Lived:
    return live(past, policy, task[0], seed=task[1])


async def _loop(past: Past, policy: Policy, budget_usd: float, seed: int) -> Lived:
    material = material_of(past, seed=seed)
    own = replace(policy, dimension=material.embeddings.shape[1])
    scenario = Scenario(reward_rate=past.reward_rate)
    setting = Setting(own, budget_usd, seed, learn_share=0.0, scenario=scenario)
    replay = Replay(material, setting, encoder_handle, KEEP_ALL)
    result = await replay.run()
    records = await recorded_decisions(replay.services, POOL_ID)
    return _lived(result, chances_of(records, past.log.arm_ids, len(past.log)))


def _lived(result: RunResult, chances: FloatArray) -> Lived:
    trace = result.trace
    served = trace.chosen != REFUSED
    assert np.array_equal(served, chances.any(axis=1)), "every decision that was served is on record"
    return Lived(
        chances=chances,
        prices_per_usd=np.where(served, trace.prices_per_usd, np.nan),
        rewards=trace.rewards,
        costs_usd=trace.costs_usd,
        refusals=int(np.sum(~served)),
    )


def _read(past: Past, budget_usd: float, lives: Sequence[Lived], *, is_forced: bool) -> Counterfactual:
    log = past.log
    chances = np.stack([life.chances for life in lives])
    rows = effective_rows(_weights(past, chances))
    unsupported = float(np.sum(chances * (log.propensities <= 0.0)) / (len(lives) * len(log)))
    refusal = _refusal(rows, len(log), unsupported, is_forced=is_forced)
    quality, spend = (None, None) if refusal else _readings(past, chances)
    shares = chances.mean(axis=(0, 1)).tolist()
    return Counterfactual(
        budget_usd=budget_usd,
        quality=quality,
        spend_usd=spend,
        quality_in_loop=float(np.mean([life.rewards.mean() for life in lives])),
        spend_usd_in_loop=float(np.mean([life.costs_usd.mean() for life in lives])),
        refusals=float(np.mean([life.refusals for life in lives])),
        price_path=_path(np.stack([life.prices_per_usd for life in lives])),
        arm_shares=tuple(zip(log.arm_ids, shares, strict=True)),
        effective_rows=rows,
        unsupported=unsupported,
        seeds=len(lives),
        rows=len(log),
        refusal=refusal,
    )


def _weights(past: Past, chances: FloatArray) -> FloatArray:
    """w·m (n,) of the rewards, the mean over the seeds."""
    log, rows = past.log, np.arange(len(past.log))
    ratio = chances[:, rows, log.actions].mean(axis=0) / log.propensities[rows, log.actions]
    return np.asarray(ratio * past.prepared.reward.observation.weights)


def _refusal(effective: float, rows: int, unsupported: float, *, is_forced: bool) -> RefusedEstimate | None:
    if unsupported > MOST_UNSUPPORTED:
        return RefusedEstimate(
            "no_support",
            f"{unsupported:.1%} of the choices would fall on arms that could not be chosen when the log was made",
        )
    least = max(MIN_EFFECTIVE_ROWS, MIN_EFFECTIVE_SHARE * rows)
    if effective >= least or is_forced:
        return None
    return RefusedEstimate("few_effective_rows", f"{effective:.0f} effective rows of {rows}; {least:.0f} are needed")


def _readings(past: Past, chances: FloatArray) -> tuple[Reading, Reading]:
    prepared, log = past.prepared, past.log
    values = np.stack(
        [[dr(outcome.rows(part, log)).row_values for part in chances] for outcome in (prepared.reward, prepared.cost)]
    )
    replicates = replicate_means(values, np.ones(values.shape[1:], dtype=np.bool_), seed=prepared.options.seed)
    dark = chances * (log.propensities <= 0.0)
    least = [float(np.sum(dark * outcome.predictions, axis=2).mean()) for outcome in (prepared.reward, prepared.cost)]
    most = [float(dark.sum(axis=2).mean()) * bound for bound in (1.0, _dearest_usd(log))]
    found = []
    for index in range(2):
        low, high = central(replicates[:, index])
        widened = low - least[index], high + max(0.0, most[index] - least[index])
        found.append(Reading(float(values[index].mean()), *widened))
    return found[0], found[1]


def _dearest_usd(log: DecisionLog) -> float:
    return float(np.nanmax(log.costs_usd))


def _path(prices: FloatArray) -> tuple[float, ...]:
    """Mean λ of each tenth of the requests (seeds, n) that were served; 0 where none was."""
    parts = np.array_split(prices, PATH_POINTS, axis=1)
    known = [part[np.isfinite(part)] for part in parts]
    return tuple(float(part.mean()) if len(part) else 0.0 for part in known)
