"""What the demo counts while it runs, and what it says at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bandit_router.app.demo.recordings import Recordings
from bandit_router.core.frontier import hindsight_reward, static_mix_reward
from bandit_router.core.money import nusd_to_usd


@dataclass(slots=True)
class Tally:
    """Running totals of one run. Bills and rewards are the recorded ones of the arms that were chosen."""

    requests: int
    limit_nusd: int
    decisions: int = 0
    refusals: int = 0
    billed_nusd: int = 0
    reward_sum: float = 0.0
    chosen: dict[str, int] = field(default_factory=dict)
    price_per_usd: float = 0.0

    def decided(self, arm_id: str, *, reward: float, cost_nusd: int, price_per_usd: float) -> None:
        """Count one decision and its outcome."""
        self.decisions += 1
        self.reward_sum += reward
        self.billed_nusd += cost_nusd
        self.price_per_usd = price_per_usd
        self.chosen[arm_id] = self.chosen.get(arm_id, 0) + 1

    @property
    def done(self) -> int:
        """Requests answered, with an arm or a refusal."""
        return self.decisions + self.refusals

    @property
    def reward_mean(self) -> float:
        """Mean reward per request; a refused request has earned nothing."""
        return self.reward_sum / max(1, self.done)

    @property
    def pace(self) -> float:
        """Spend divided by what an even pace would have spent by now."""
        return self.billed_nusd * self.requests / max(1, self.limit_nusd * self.done)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What another way of choosing would have earned and spent, per request."""

    name: str
    reward_mean: float
    spend_usd_mean: float


@dataclass(frozen=True, slots=True)
class BudgetSeen:
    """The tenant's budget as the server reports it at the end."""

    limit_nusd: int
    spent_nusd: int
    held_nusd: int
    free_nusd: int
    overrun_nusd: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a run beside the yardsticks."""

    tally: Tally
    budget: BudgetSeen
    elapsed_s: float
    yardsticks: tuple[Yardstick, ...]

    @property
    def budget_law_holds(self) -> bool:
        """limit = free + held + spent; no hold is left; spent is the sum of the bills; spend is within the limit."""
        budget = self.budget
        return (
            budget.limit_nusd == budget.free_nusd + budget.held_nusd + budget.spent_nusd
            and budget.held_nusd == 0
            and budget.spent_nusd == self.tally.billed_nusd
            and budget.spent_nusd - budget.overrun_nusd <= budget.limit_nusd
        )

    def yardstick(self, name: str) -> Yardstick:
        """The yardstick of that name."""
        return next(y for y in self.yardsticks if y.name == name)

    def as_json(self) -> dict[str, Any]:
        """The machine-readable result."""
        tally, budget = self.tally, self.budget
        return {
            "decisions": tally.decisions,
            "refusals": tally.refusals,
            "limit_usd": nusd_to_usd(budget.limit_nusd),
            "spent_usd": nusd_to_usd(budget.spent_nusd),
            "utilisation": budget.spent_nusd / max(1, budget.limit_nusd),
            "reward_mean": tally.reward_mean,
            "static_mix_reward_at_same_spend": self.yardstick(STATIC_MIX).reward_mean,
            "hindsight_reward": self.yardstick(HINDSIGHT).reward_mean,
            "decisions_per_s": tally.done / self.elapsed_s,
            "budget_law_holds": self.budget_law_holds,
            "arm_shares": {arm_id: count / max(1, tally.decisions) for arm_id, count in tally.chosen.items()},
        }


CHEAPEST = "always the cheapest arm"
DEAREST = "always the dearest arm"
STATIC_MIX = "best static mix at the same spend"
HINDSIGHT = "hindsight optimum at the same spend"


def measure_yardsticks(recordings: Recordings, *, spend_usd_mean: float) -> tuple[Yardstick, ...]:
    """The yardsticks on the prompts that were routed, the mixed ones at the router's own spend."""
    costs, rewards = recordings.costs_usd(), recordings.rewards()
    mean_costs, mean_rewards = costs.mean(axis=0), rewards.mean(axis=0)
    cheapest, dearest = int(mean_costs.argmin()), int(mean_costs.argmax())
    return (
        Yardstick(CHEAPEST, float(mean_rewards[cheapest]), float(mean_costs[cheapest])),
        Yardstick(DEAREST, float(mean_rewards[dearest]), float(mean_costs[dearest])),
        Yardstick(STATIC_MIX, static_mix_reward(costs, rewards, spend_usd=spend_usd_mean), spend_usd_mean),
        Yardstick(HINDSIGHT, hindsight_reward(costs, rewards, spend_usd=spend_usd_mean), spend_usd_mean),
    )
