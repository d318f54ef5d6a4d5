"""Decisions that a prior saves: how soon a learner is as good as the one without a prior is in the end.

Regret of decision t: best minus chosen reward of the row, mean over seeds. "Best" is out of every budget's reach, which
does not matter: slopes are compared at one budget only. The regret slope is the non-increasing curve that fits the
regrets best (isotonic regression: no window to choose). A learner has arrived at the first t at which its slope is at
most the final one, the mean regret over the last FINAL_SHARE of the stream without a prior, plus TOLERANCE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import isotonic_regression

from bandit_router.core.prior_codec import encode_prior
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.prior_study.derived import PRIORS, halves_of, pool_prior
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.setting import Material, Policy, Setting
from bandit_router_sim.replay.sweep import replay_one

EARLY = 100
"""Decisions whose mean reward is told apart."""

FINAL_SHARE = 0.25
TOLERANCE = 0.002


PILOT_POLICIES: Mapping[str, Policy] = {
    "pilot, replan": Policy(learner="pilot"),
    "pilot by cosine, replan": Policy(learner="pilot:cosine=1"),
    "pilot, threshold": Policy(learner="pilot", budget_policy="threshold"),
    "linucb, replan": Policy(learner="linucb"),
}
PILOT_PRIORS = ("none", "battles + labels")
"""What the paper's choices are compared by."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Regret (n,) of each decision, mean over seeds; reward and spend per request over the whole stream."""

    regret: FloatArray
    reward_mean: float
    reward_early: float
    spend_usd_mean: float

    def slopes(self) -> FloatArray:
        """Non-increasing regret per decision (n,)."""
        return np.asarray(isotonic_regression(self.regret, increasing=False).x)

    def final_slope(self) -> float:
        """Regret per decision at the end of the stream."""
        return float(self.regret[-int(len(self.regret) * FINAL_SHARE) :].mean())

    def arrival(self, slope: float) -> int | None:
        """Decisions until the slope has come down to `slope`; None if it never does."""
        reached = np.flatnonzero(self.slopes() <= slope + TOLERANCE)
        return int(reached[0]) if len(reached) else None


def curves(
    material: Material,
    budget_usd: float,
    *,
    seeds: int,
    priors: Sequence[str] = tuple(PRIORS),
    policy: Policy | None = None,
    jobs: int = 1,
) -> Mapping[str, Curve]:
    """A curve per prior, over the same orders of the same requests."""
    halves = halves_of(material)
    found = {}
    for name in priors:
        make = PRIORS[name]
        data = None if make is None else encode_prior(pool_prior(make(halves.aside), halves.replayed))
        settings = [Setting(policy or Policy(), budget_usd, seed, learn_share=0.0) for seed in range(seeds)]
        results = Parallel(n_jobs=jobs)(delayed(replay_one)(halves.replayed, one, prior=data) for one in settings)
        found[name] = _curve(halves.replayed, results)
    return found


def _curve(material: Material, results: Sequence[RunResult]) -> Curve:
    best = material.log.scores.max(axis=1)
    rewards = np.array([result.trace.rewards for result in results])
    regret = np.array([best[result.trace.rows] for result in results]) - rewards
    return Curve(
        regret=regret.mean(axis=0),
        reward_mean=float(rewards.mean()),
        reward_early=float(rewards[:, :EARLY].mean()),
        spend_usd_mean=float(np.mean([result.trace.costs_usd.mean() for result in results])),
    )
