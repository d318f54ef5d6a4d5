"""`bandit-router-sim ope`: what other policies would have earned and cost on a decision log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bandit_router_sim.cli_checks import checked_budgets, checked_file, reason_of
from bandit_router_sim.logs.decision_events import read_decision_log
from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.ope.evaluate import Evaluation, OutcomeEvaluation, evaluate
from bandit_router_sim.ope.frontier import Frontier, frontier
from bandit_router_sim.ope.policies import TargetPolicy, fixed_arm, logging_policy, uniform_mix
from bandit_router_sim.ope.prepare import Options

EXIT_REFUSED = 1
SHOWN = ("ips", "snips", "dm", "dr")


def ope(
    log_file: Annotated[
        Path, typer.Argument(help="A decision log: `bandit-router events POOL`.", exists=True, dir_okay=False)
    ],
    *,
    arm: Annotated[list[str] | None, typer.Option(help="Evaluate always this arm; repeatable.")] = None,
    budget: Annotated[str, typer.Option(help="Read the price frontier at these USD per request.")] = "",
    prices: Annotated[int, typer.Option(help="Points of the price grid.", min=2)] = 13,
    force: Annotated[bool, typer.Option("--force", help="Estimate even from few effective rows.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file.", callback=checked_file)
    ] = None,
) -> None:
    """Estimate reward and cost per request of the logging policy, single arms and the priced family."""
    budgets_usd = checked_budgets(budget) if budget else []
    try:
        log, _ = read_decision_log(log_file, skip_bad=skip_bad)
    except LogError as error:
        Console(stderr=True).print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_REFUSED) from None
    options = Options(is_forced=force)
    evaluations = [evaluate(log, policy, options) for policy in _targets(log, arm or [])]
    curve = frontier(log, _price_grid(log, prices), options) if budgets_usd else None
    Console().print(_table(evaluations))
    if curve is not None:
        Console().print(_frontier_table(curve, budgets_usd))
    if json_file is not None:
        found: dict[str, Any] = {"evaluations": [evaluation.as_dict() for evaluation in evaluations]}
        found["frontier"] = None if curve is None else curve.as_dict(budgets_usd)
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _targets(log: DecisionLog, arms: list[str]) -> list[TargetPolicy]:
    try:
        fixed = [fixed_arm(log.arm_ids, arm_id) for arm_id in arms or log.arm_ids]
    except KeyError as error:
        raise typer.BadParameter(reason_of(error), param_hint="--arm") from None
    return [logging_policy(log), uniform_mix(len(log.arm_ids)), *fixed]


def _price_grid(log: DecisionLog, count: int) -> list[float]:
    """Zero, and prices around those in force while the log was made."""
    seen = log.prices_per_usd[log.prices_per_usd > 0.0]
    centre = float(np.median(seen)) if len(seen) else 100.0
    return [0.0, *np.geomspace(centre / 30.0, centre * 30.0, count - 1).tolist()]


def _table(evaluations: list[Evaluation]) -> Table:
    table = Table("policy", "outcome", *SHOWN, "95 % of DR", "effective rows")
    for evaluation in evaluations:
        for outcome in (evaluation.reward, evaluation.cost):
            table.add_row(evaluation.policy, *_cells(evaluation, outcome))
    return table


def _cells(evaluation: Evaluation, outcome: OutcomeEvaluation | None) -> list[str]:
    refusal = evaluation.refusal or (outcome.refusal if outcome else None)
    if outcome is None or refusal is not None:
        name = "" if outcome is None else outcome.outcome
        return [name, *["–"] * len(SHOWN), "refused: " + (refusal.reason if refusal else ""), ""]
    values = [f"{outcome.readings[name].value:.5g}" for name in SHOWN]
    interval = outcome.readings["dr"].normal
    rows = "" if outcome.weights is None else f"{outcome.weights.effective_rows:.0f}"
    return [outcome.outcome, *values, f"{interval.low:.5g} … {interval.high:.5g}", rows]


def _frontier_table(curve: Frontier, budgets_usd: list[float]) -> Table:
    table = Table("budget USD", "reward of the priced family", "95 %")
    for budget_usd in budgets_usd:
        reading = curve.read(budget_usd)
        if reading.refusal is not None or reading.interval is None:
            table.add_row(f"{budget_usd:g}", "–", "" if reading.refusal is None else reading.refusal.reason)
        else:
            interval = f"{reading.interval.low:.4f} … {reading.interval.high:.4f}"
            table.add_row(f"{budget_usd:g}", f"{reading.reward:.4f}", interval)
    return table
