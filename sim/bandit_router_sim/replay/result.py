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
    `money_usd`, `tenants`, `windows`, `phases`: as in `Course`.
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
    money_usd: FloatArray
    tenants: IndexArray
    windows: IndexArray
    phases: IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """One replay with its trace; the summary is over the reported stretch. A refusal earns and costs nothing."""

    log_name: str
    arm_ids: tuple[str, ...]
    setting: Setting
    trace: Trace

    @property
    def refusals(self) -> int:
        """Requests that no arm's hold fitted, or that no arm was there for."""
        return int(np.sum(self.trace.chosen[self.trace.is_reported] == REFUSED))

    def summary(self) -> dict[str, Any]:
        """One entry of the `runs` list of the JSON report: the whole reported stretch, and by phase, window, tenant."""
        trace, scenario = self.trace, self.setting.scenario
        return {
            "log": self.log_name,
            "policy": self.setting.policy.name,
            "scenario": scenario.name,
            "budget_usd": self.setting.budget_usd,
            "seed": self.setting.seed,
            **self._part(trace.is_reported),
            "phases": self._parts("phase", trace.phases),
            "windows": self._parts("window", trace.windows),
            "tenants": [
                {"tenant_id": tenant.tenant_id, **self._part(trace.is_reported & (trace.tenants == index))}
                for index, tenant in enumerate(scenario.tenants)
            ],
        }

    def _parts(self, name: str, numbers: IndexArray) -> list[dict[str, Any]]:
        return [{name: number, **self._part(numbers == number)} for number in range(int(numbers.max()) + 1)]

    def _part(self, chosen: BoolArray) -> dict[str, Any]:
        """Summary of the chosen requests; None for the means of none."""
        trace, n = self.trace, int(chosen.sum())
        columns, spend_usd, money_usd = trace.chosen[chosen], trace.costs_usd[chosen], trace.money_usd[chosen]
        served = np.bincount(columns[columns != REFUSED], minlength=len(self.arm_ids))
        return {
            "reward_mean": float(trace.rewards[chosen].mean()) if n else None,
            "spend_usd_mean": float(spend_usd.mean()) if n else None,
            "utilisation": float(spend_usd.sum() / money_usd.sum()) if n else None,
            "refusals": int(np.sum(columns == REFUSED)),
            "n": n,
            "arm_shares": [{"arm_id": arm, "share": share} for arm, share in self._shares(served, n)],
        }

    def _shares(self, served: IndexArray, n: int) -> list[tuple[str, float]]:
        return list(zip(self.arm_ids, (served / max(1, n)).tolist(), strict=True))
