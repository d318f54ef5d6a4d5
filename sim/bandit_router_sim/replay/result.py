"""What a replay found, per request and in summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit_router_sim.logs.full import BoolArray, FloatArray, IndexArray
from bandit_router_sim.replay.setting import Setting

REFUSED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Per request, in the order replayed: row of the log, chosen column (REFUSED: none), outcome, λ, propensity.

    `expected_rewards`, `expected_costs_usd`: what the chosen arm's quote said; NaN where the request was refused.
    """

    rows: IndexArray
    chosen: IndexArray
    rewards: FloatArray
    costs_usd: FloatArray
    prices_per_usd: FloatArray
    propensities: FloatArray
    expected_rewards: FloatArray
    expected_costs_usd: FloatArray
    is_reported: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """One replay with its trace; the summary is over the reported stretch. A refusal earns and costs nothing."""

    log_name: str
    setting: Setting
    trace: Trace

    @property
    def reward_mean(self) -> float:
        """Mean reward per request."""
        return float(self.trace.rewards[self.trace.is_reported].mean())

    @property
    def spend_usd_mean(self) -> float:
        """Mean spend per request."""
        return float(self.trace.costs_usd[self.trace.is_reported].mean())

    @property
    def refusals(self) -> int:
        """Requests that no arm's hold fitted."""
        return int(np.sum(self.trace.chosen[self.trace.is_reported] == REFUSED))

    def summary(self) -> dict[str, Any]:
        """One entry of the `runs` list of the JSON report."""
        return {
            "log": self.log_name,
            "policy": self.setting.policy.name,
            "budget_usd": self.setting.budget_usd,
            "seed": self.setting.seed,
            "reward_mean": self.reward_mean,
            "spend_usd_mean": self.spend_usd_mean,
            "utilisation": self.spend_usd_mean / self.setting.budget_usd,
            "refusals": self.refusals,
            "n": int(self.trace.is_reported.sum()),
        }
