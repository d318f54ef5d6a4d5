"""The `bandit-router-sim` command."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bandit_router_sim.cli_compare import compare
from bandit_router_sim.cli_logs import convert, describe, validate
from bandit_router_sim.cli_ope import ope
from bandit_router_sim.cli_report import report
from bandit_router_sim.cli_world import world
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.replay.material import UnusableForReplay, prepare
from bandit_router_sim.replay.setting import POLICIES, Material, Policy
from bandit_router_sim.replay.sweep import settings_of, sweep

EXIT_USAGE = 2

app = typer.Typer(
    help="Replays logs through the router's own services.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


app.command()(compare)
app.command()(report)
app.command()(ope)
app.command()(validate)
app.command()(describe)
app.command()(convert)
app.command()(world)


@app.command()
def replay(
    logs: Annotated[list[Path], typer.Argument(help="Full-information logs: parquet, JSONL or CSV.", exists=True)],
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = "default",
    budget: Annotated[str, typer.Option(help="USD per request; several separated by commas.")] = "",
    seeds: Annotated[int, typer.Option(help="Orders to replay.", min=1)] = 1,
    learn_share: Annotated[float, typer.Option(help="Share of each order to learn on.", min=0.0, max=0.99)] = 0.5,
    learner: Annotated[str | None, typer.Option(help="Another learner, such as linucb:alpha=0.2.")] = None,
    exploration: Annotated[str | None, typer.Option(help="Another exploration, such as igw:tau=800.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Replay only these arms; repeatable.")] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the prompts.")] = "static",
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core.")] = -1,
    backend: Annotated[str, typer.Option(help="joblib backend: loky, ray or dask.")] = "loky",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and count them.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the runs to this file.")] = None,
) -> None:
    """Replay logs under budgets; rewards, spend and refusals are those after the learning stretch."""
    console = Console(stderr=True)
    chosen = _policy(policy, learner=learner, exploration=exploration)
    budgets_usd = _budgets(budget)
    runs: list[dict[str, Any]] = []
    for path in logs:
        material = _material(path, encoder=encoder, arms=arm or [], skip_bad=skip_bad, console=console)
        settings = settings_of([chosen], budgets_usd, seeds=seeds, learn_share=learn_share)
        results = sweep(material, settings, jobs=jobs, backend=backend)
        progress = track(results, total=len(settings), description=material.log.name, console=console)
        runs.extend(result.summary() for result in progress)
    if json_file is not None:
        json_file.write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")
    Console().print(_table(runs))


def _material(path: Path, *, encoder: str, arms: list[str], skip_bad: bool, console: Console) -> Material:
    try:
        log, skipped = read_full_log(path, skip_bad=skip_bad)
        material = prepare(log, encoder_id=encoder, arm_ids=arms)
    except (LogError, UnusableForReplay, KeyError) as error:
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    left_out = len(log) - len(material.log)
    console.print(f"{log.name}: {len(material.log)} queries × {len(material.log.arm_ids)} arms", highlight=False)
    if left_out or skipped.total:
        console.print(f"left out: {left_out} incomplete rows, {skipped.total} bad ones", highlight=False)
    return material


def _policy(name: str, *, learner: str | None, exploration: str | None) -> Policy:
    if name not in POLICIES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(POLICIES)}", param_hint="--policy")
    chosen = POLICIES[name]
    return replace(chosen, learner=learner or chosen.learner, exploration=exploration or chosen.exploration)


def _budgets(text: str) -> list[float]:
    try:
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter("must be numbers of USD separated by commas", param_hint="--budget") from None
    if not all(0.0 < budget < float("inf") for budget in budgets):
        raise typer.BadParameter("must be positive", param_hint="--budget")
    return budgets


def _table(runs: list[dict[str, Any]]) -> Table:
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run["log"], run["policy"], run["budget_usd"]].append(run)
    table = Table("log", "policy", "budget USD", "reward", "spend USD", "utilisation", "refusals", "seeds")
    for (log, policy, budget_usd), members in groups.items():
        table.add_row(
            log,
            policy,
            f"{budget_usd:g}",
            f"{_mean(members, 'reward_mean'):.4f}",
            f"{_mean(members, 'spend_usd_mean'):.4g}",
            f"{_mean(members, 'utilisation'):.3f}",
            f"{_mean(members, 'refusals'):.1f}",
            str(len(members)),
        )
    return table


def _mean(runs: list[dict[str, Any]], field: str) -> float:
    return float(np.mean([run[field] for run in runs]))


def main() -> None:
    """Entry point of the command."""
    app()
