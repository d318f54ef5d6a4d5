"""What late and rare feedback costs the product: replays of a stationary log, and the same with reports held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit_router_sim.compare.intervals import Interval, paired_interval
from bandit_router_sim.experiments.runs import LEARN_SHARE, rewards_by_query
from bandit_router_sim.kept.cache import Finished
from bandit_router_sim.replay.scenario import Scenario
from bandit_router_sim.replay.setting import POLICIES, Setting

DELAYS = (0, 30, 300, 3000)
RATES = (1.0, 0.1, 0.02)


@dataclass(frozen=True, slots=True)
class Lateness:
    """Rewards so many requests late, on such a share of the requests; bills so many requests late; who is served."""

    reward_delay: int = 0
    reward_rate: float = 1.0
    bill_delay: int = 0
    policy: str = "default"

    def scenario(self) -> Scenario:
        """A stationary log with it."""
        name = f"rewards {self.reward_delay} late at {self.reward_rate:g}, bills {self.bill_delay} late"
        return replace(
            Scenario(),
            name=name,
            reward_delay=self.reward_delay,
            reward_rate=self.reward_rate,
            bill_delay=self.bill_delay,
        )


PROMPT = Lateness()
CASES = (
    *(Lateness(delay, rate) for rate in RATES for delay in DELAYS),
    *(Lateness(reward_delay=300, bill_delay=300, policy=policy) for policy in ("default", "quantile_holds")),
)
"""Every delay at every rate with bills at once; then rewards and bills equally late. The first is PROMPT."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A case at a budget: mean reward; what it is below PROMPT's; spent and refused.

    `utilisation` and `utilisation_most`: the mean and the largest over runs of spend divided by the limit; `refusals`:
    per run.
    """

    case: Lateness
    budget_usd: float
    reward_mean: float
    loss: Interval
    utilisation: float
    utilisation_most: float
    refusals: float


def settings_of_delays(budgets_usd: Sequence[float], *, seeds: int) -> list[Setting]:
    """Every case at every budget; whole orders one after another."""
    return [
        Setting(POLICIES[case.policy], budget_usd, seed, LEARN_SHARE, case.scenario())
        for seed in range(seeds)
        for case in CASES
        for budget_usd in budgets_usd
    ]


def losses(runs: Sequence[tuple[Setting, Finished]], *, queries: int) -> list[Loss]:
    """Of every case and budget played, against PROMPT in the same orders at the same budget."""
    found = []
    for case in CASES:
        for budget_usd in sorted({setting.budget_usd for setting, _ in runs}):
            members, prompt = _runs_of(runs, case, budget_usd), _runs_of(runs, PROMPT, budget_usd)
            found.append(_loss(case, budget_usd, members, prompt, queries=queries))
    return found


def _runs_of(runs: Sequence[tuple[Setting, Finished]], case: Lateness, budget_usd: float) -> list[Finished]:
    wanted = POLICIES[case.policy], case.scenario(), budget_usd
    mine = [run for run in runs if (run[0].policy, run[0].scenario, run[0].budget_usd) == wanted]
    return [finished for _, finished in sorted(mine, key=lambda run: run[0].seed)]


def _loss(
    case: Lateness, budget_usd: float, members: Sequence[Finished], prompt: Sequence[Finished], *, queries: int
) -> Loss:
    apart = rewards_by_query(prompt, queries) - rewards_by_query(members, queries)
    rows = [member.row for member in members]
    return Loss(
        case=case,
        budget_usd=budget_usd,
        reward_mean=float(np.mean([row["reward_mean"] for row in rows])),
        loss=paired_interval(apart, np.isfinite(apart)),
        utilisation=float(np.mean([row["utilisation"] for row in rows])),
        utilisation_most=max(float(row["utilisation"]) for row in rows),
        refusals=float(np.mean([row["refusals"] for row in rows])),
    )
