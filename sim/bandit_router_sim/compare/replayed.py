"""What a replay of the product got, in the terms of a comparison."""

from __future__ import annotations

from bandit_router_sim.compare.outcome import Outcome, Run, shares_of
from bandit_router_sim.replay.result import RunResult


def outcome_of_replay(result: RunResult, *, arms: int) -> Outcome:
    """The outcome on the reported stretch of a log of so many arms."""
    trace, setting = result.trace, result.setting
    reported = trace.is_reported
    costs_usd, chosen = trace.costs_usd[reported], trace.chosen[reported]
    return Outcome(
        run=Run(result.log_name, setting.policy.name, setting.budget_usd, setting.seed),
        rewards=trace.rewards[reported],
        costs_usd=costs_usd,
        refusals=float(result.refusals),
        wanted_usd=float(costs_usd.sum()),
        arm_shares=shares_of(chosen, arms),
        details={
            "chosen": chosen,
            "prices_per_usd": trace.prices_per_usd[reported],
            "propensities": trace.propensities[reported],
            "expected_rewards": trace.expected_rewards[reported],
            "expected_costs_usd": trace.expected_costs_usd[reported],
        },
    )
