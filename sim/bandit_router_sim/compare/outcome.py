"""What one policy got on the reported stretch of one order: comparable across policies, references and peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import Material


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Where an outcome comes from: whose it is, under which budget per request, in which order."""

    log: str
    policy: str
    budget_usd: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Rewards and bills of the reported requests, in order; a refusal earns and costs nothing.

    Arrays (n,). A mixed choice has its expected reward and bill, and a fraction of a refusal. `wanted_usd`: what the
    policy would have spent on these requests, had nobody stopped it. `arm_shares`: per arm in the log's order, the
    share of the requests that it served. `details`: further arrays (n,) by name, such as `chosen`.
    """

    run: Run
    rewards: FloatArray
    costs_usd: FloatArray
    refusals: float
    wanted_usd: float
    arm_shares: tuple[float, ...] = ()
    details: Mapping[str, FloatArray | IndexArray] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The keys of `RunResult.summary`, and `overspend`: the share by which unstopped spend passes the budget."""
        spend_usd_mean = float(self.costs_usd.mean())
        money_usd = self.run.budget_usd * len(self.rewards)
        return {
            "log": self.run.log,
            "policy": self.run.policy,
            "budget_usd": self.run.budget_usd,
            "seed": self.run.seed,
            "reward_mean": float(self.rewards.mean()),
            "spend_usd_mean": spend_usd_mean,
            "utilisation": spend_usd_mean / self.run.budget_usd,
            "refusals": self.refusals,
            "overspend": max(0.0, self.wanted_usd / money_usd - 1.0),
            "n": len(self.rewards),
            "arm_shares": list(self.arm_shares),
        }


def outcome_of_choices(run: Run, material: Material, rows: IndexArray, chosen: IndexArray) -> Outcome:
    """The outcome of one column per row, REFUSED where there was none."""
    served = chosen != REFUSED
    columns = np.where(served, chosen, 0)
    costs_usd = np.where(served, material.log.costs_usd[rows, columns], 0.0)
    return Outcome(
        run=run,
        rewards=np.where(served, material.log.scores[rows, columns], 0.0),
        costs_usd=costs_usd,
        refusals=float(np.sum(~served)),
        wanted_usd=float(costs_usd.sum()),
        arm_shares=shares_of(chosen, len(material.log.arm_ids)),
        details={"chosen": chosen},
    )


def outcome_of_shares(run: Run, material: Material, rows: IndexArray, shares: FloatArray) -> Outcome:
    """The expected outcome of choosing arms with probabilities `shares` (n, K); what they lack of 1 is refused."""
    costs_usd = np.sum(shares * material.log.costs_usd[rows], axis=1)
    return Outcome(
        run=run,
        rewards=np.sum(shares * material.log.scores[rows], axis=1),
        costs_usd=costs_usd,
        refusals=float(len(rows) - shares.sum()),
        wanted_usd=float(costs_usd.sum()),
        arm_shares=tuple(shares.mean(axis=0).tolist()),
    )


def shares_of(chosen: IndexArray, arms: int) -> tuple[float, ...]:
    """Share of the requests (n,) that each arm's column was chosen for."""
    return tuple((np.bincount(chosen[chosen != REFUSED], minlength=arms) / len(chosen)).tolist())


def reported_rows(material: Material, *, seed: int, learn_share: float) -> IndexArray:
    """Rows whose rewards an outcome reports, in its order."""
    return stretches(len(material.log), seed=seed, learn_share=learn_share)[1]
