"""`bandit-router-sim tune`: which budget, which settings, and what other limits would have brought."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bandit_router.adapters.encoding.factory import UnknownEncoder
from bandit_router.core.resources import DEFAULT_LEARNER
from bandit_router_sim.cli_checks import checked_file, checked_jobs, checked_policy, holds_decisions, reason_of
from bandit_router_sim.cli_relive import budgets_of, read_decisions, read_past, refuse, show
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.plain import as_plain
from bandit_router_sim.ope.policies import DEFAULT_TAU
from bandit_router_sim.ope.prepare import Options
from bandit_router_sim.replay.material import UnusableForReplay, prepare
from bandit_router_sim.replay.setting import Material, Policy
from bandit_router_sim.tune.budget import NoFrontier, QualityOfMoney, budget_grid, evaluated, replayed
from bandit_router_sim.tune.config_file import as_config
from bandit_router_sim.tune.counterfactual import METHOD, counterfactuals
from bandit_router_sim.tune.policy_search import Found, Plan, TooFewRows, budgets_between, search
from bandit_router_sim.tune.reading import Advice
from bandit_router_sim.tune.search_space import NothingToSearch

tune = typer.Typer(help="Tune budgets and settings on logs.", no_args_is_help=True)

FullOrDecisions = Annotated[
    Path, typer.Argument(help="A full-information log, or exported events.", exists=True, dir_okay=False)
]
FullLogFile = Annotated[
    Path, typer.Argument(help="A full-information log: parquet, JSONL or CSV.", exists=True, dir_okay=False)
]
Events = Annotated[
    Path, typer.Argument(help="A decision log: `bandit-router events POOL`.", exists=True, dir_okay=False)
]
Learner = Annotated[str, typer.Option(help="Such as linucb:alpha=0.2.")]
Exploration = Annotated[str, typer.Option(help="Such as igw:tau=800.")]
Tenant = Annotated[str, typer.Option(help="Of a decision log: only this tenant's decisions.")]
Encoder = Annotated[str, typer.Option(help="Encoder of the prompts.")]
Arms = Annotated[list[str] | None, typer.Option(help="Replay only these arms; repeatable.")]
LearnShare = Annotated[float, typer.Option(help="Share of each order to learn on.", min=0.0, max=0.99)]
Force = Annotated[bool, typer.Option("--force", help="Answer even from few effective rows.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out.")]
Jobs = Annotated[int, typer.Option(help="Processes; -1: one per core.", callback=checked_jobs)]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write everything to this file.", callback=checked_file)]


@tune.command("budget")
def tune_budget(
    log_file: FullOrDecisions,
    *,
    quality: Annotated[list[float] | None, typer.Option(help="Which budget buys this quality? Repeatable.")] = None,
    budget: Annotated[list[float] | None, typer.Option(help="Which quality do these USD buy? Repeatable.")] = None,
    points: Annotated[int, typer.Option(help="Budgets of the grid, or prices for a decision log.", min=2)] = 9,
    seeds: Annotated[int, typer.Option(help="Orders of a full-information log.", min=1)] = 5,
    learn_share: LearnShare = 0.5,
    learner: Learner = DEFAULT_LEARNER,
    exploration: Exploration = "igw",
    arm: Arms = None,
    encoder: Encoder = "static",
    tenant: Tenant = "",
    tau: Annotated[float, typer.Option(help="Of the priced family, for a decision log.", min=0.001)] = DEFAULT_TAU,
    force: Force = False,
    skip_bad: SkipBad = False,
    jobs: Jobs = -1,
    json_file: JsonFile = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a plot to this file.", callback=checked_file)
    ] = None,
) -> None:
    """Draw the quality of each budget (USD per request) with intervals, and read it in both directions."""
    console = Console(stderr=True)
    if holds_decisions(log_file):
        log = read_decisions(log_file, tenant=tenant, skip_bad=skip_bad, console=console)
        try:
            found = evaluated(log, tau=tau, options=Options(is_forced=force), prices=max(points, 25))
        except NoFrontier as error:
            raise refuse(console, f"refused: {error.refusal.reason}") from None
    else:
        material = _material(log_file, encoder=encoder, arms=arm or [], skip_bad=skip_bad, console=console)
        policy = checked_policy(Policy("tuned", learner, exploration))
        grid = _between(budget_grid, material, points, console)
        found = replayed(material, policy, grid, seeds=seeds, learn_share=learn_share, jobs=jobs, console=console)
    answers = {
        "quality_of_budget": [found.quality_of(usd) for usd in budget or []],
        "budget_for_quality": [found.budget_for(wanted) for wanted in quality or []],
    }
    _show_frontier(found, answers)
    _write_json(json_file, {**found.as_dict(), **{name: as_plain(each) for name, each in answers.items()}})
    if html_file is not None:
        from bandit_router_sim.tune.plot import as_html

        html_file.write_text(as_html(found), encoding="utf-8")


@tune.command("policy")
def tune_policy(
    log_file: FullLogFile,
    *,
    trials: Annotated[int, typer.Option(help="Settings to try.", min=1)] = 40,
    budgets: Annotated[int, typer.Option(help="Budgets between the cheapest and the dearest arm.", min=1)] = 3,
    seeds: Annotated[int, typer.Option(help="Orders.", min=1)] = 3,
    learn_share: LearnShare = 0.5,
    learner: Annotated[str, typer.Option(help="The learner whose parameters are searched.")] = DEFAULT_LEARNER,
    exploration: Annotated[str, typer.Option(help="The exploration whose parameters are searched.")] = "igw",
    arm: Arms = None,
    encoder: Encoder = "static",
    seed: Annotated[int, typer.Option(help="Of the search and of the split.")] = 0,
    pool: Annotated[str, typer.Option(help="Name of the pool in the configuration.")] = "tuned",
    skip_bad: SkipBad = False,
    jobs: Jobs = -1,
    json_file: JsonFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a configuration for `bandit-router serve`.", callback=checked_file)
    ] = None,
) -> None:
    """Search a pool's settings on one split, report against the defaults on the other, write a configuration."""
    console = Console(stderr=True)
    if holds_decisions(log_file):
        reason = "a decision log has one outcome a row, and a search would fit its models' errors"
        raise refuse(console, f"refused: {reason}; try settings one by one: tune counterfactual --learner … ")
    material = _material(log_file, encoder=encoder, arms=arm or [], skip_bad=skip_bad, console=console)
    plan = Plan(
        budgets_usd=tuple(_between(budgets_between, material, budgets, console)),
        seeds=seeds,
        trials=trials,
        learner=learner,
        exploration=exploration,
        learn_share=learn_share,
        seed=seed,
        jobs=jobs,
    )
    try:
        found = search(material, plan, console=console)
    except (TooFewRows, NothingToSearch) as error:
        raise refuse(console, f"refused: {error}") from None
    _show_search(found)
    _write_json(json_file, found.as_dict())
    if out is not None:
        out.write_text(as_config(found, pool_id=pool, encoder_id=encoder), encoding="utf-8")
        console.print(f"written: {out}", highlight=False)


@tune.command("counterfactual")
def tune_counterfactual(
    log_file: Events,
    *,
    budget: Annotated[list[float] | None, typer.Option(help="USD per request; repeatable.", min=1e-12)] = None,
    limit_usd: Annotated[float | None, typer.Option(help="USD for the whole log instead.", min=1e-9)] = None,
    without: Annotated[list[str] | None, typer.Option(help="Remove this arm; repeatable.")] = None,
    reprice: Annotated[list[str] | None, typer.Option(help="ARM=IN/OUT, USD per million tokens; repeatable.")] = None,
    learner: Learner = DEFAULT_LEARNER,
    exploration: Exploration = "igw",
    tenant: Tenant = "",
    seeds: Annotated[int, typer.Option(help="Worlds to live through.", min=1)] = 5,
    force: Force = False,
    skip_bad: SkipBad = False,
    jobs: Jobs = -1,
    json_file: JsonFile = None,
) -> None:
    """Live through a decision log again under other limits, arms or prices; by default under its own spend."""
    console = Console(stderr=True)
    log = read_decisions(log_file, tenant=tenant, skip_bad=skip_bad, console=console)
    past = read_past(log_file, log, without=without or [], reprices=reprice or [], console=console)
    found = counterfactuals(
        past,
        checked_policy(Policy("counterfactual", learner, exploration)),
        budgets_of(log, budget or [], limit_usd),
        seeds=seeds,
        is_forced=force,
        jobs=jobs,
        console=console,
    )
    show(found, console=console, out=Console())
    _write_json(json_file, {"method": METHOD, "budgets": [each.as_dict() for each in found]})
    if all(each.refusal for each in found):
        raise typer.Exit(1)


def _material(path: Path, *, encoder: str, arms: list[str], skip_bad: bool, console: Console) -> Material:
    try:
        log, _ = read_full_log(path, skip_bad=skip_bad)
        return prepare(log, encoder_id=encoder, arm_ids=arms)
    except (LogError, UnusableForReplay, UnknownEncoder, KeyError) as error:
        raise refuse(console, reason_of(error)) from None


def _between(
    grid: Callable[[FullLog, int], Sequence[float]], material: Material, count: int, console: Console
) -> Sequence[float]:
    try:
        return grid(material.log, count)
    except LogError as error:
        raise refuse(console, str(error)) from None


def _show_frontier(found: QualityOfMoney, answers: dict[str, list[Advice]]) -> None:
    out = Console()
    out.print(f"{found.log}: {found.method}", highlight=False, soft_wrap=True)
    table = Table("USD per request", "quality", "95 %", "spend USD", "refusals")
    for point in found.points:
        interval = f"{point.low:.4f} … {point.high:.4f}"
        table.add_row(
            f"{point.usd:.4g}", f"{point.quality:.4f}", interval, f"{point.spend_usd:.4g}", f"{point.refusals:.1f}"
        )
    out.print(table)
    if found.left_out:
        out.print(f"left out: {len(found.left_out)} prices, such as: {found.left_out[0][1]}", highlight=False)
    for advice in answers["quality_of_budget"]:
        out.print(_sentence(f"{advice.asked:g} USD per request buy a quality of", advice), highlight=False)
    for advice in answers["budget_for_quality"]:
        out.print(_sentence(f"a quality of {advice.asked:g} takes USD per request:", advice), highlight=False)


def _sentence(start: str, advice: Advice) -> str:
    if advice.refusal:
        return f"{start} – ({advice.refusal})"
    tail = f"; in {advice.unreached_share:.0%} of resamples the points do not reach" if advice.unreached_share else ""
    return f"{start} {advice.value:.4g} (95 %: {advice.low:.4g} … {advice.high:.4g}{tail})"


def _show_search(found: Found) -> None:
    out = Console()
    out.print(
        f"{found.log}: {found.trials} trials on {found.tuning_rows} rows ({found.split}), "
        f"reported on {found.reporting_rows} others\n"
        f"default: {found.default.learner}, {found.default.exploration}, dimension {found.default.dimension}\n"
        f"tuned:   {found.tuned.learner}, {found.tuned.exploration}, dimension {found.tuned.dimension}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("budget USD", "default", "tuned", "difference", "95 %", "verdict")
    for row in found.by_budget:
        interval = f"{row.difference.low:+.4f} … {row.difference.high:+.4f}"
        table.add_row(
            f"{row.budget_usd:.4g}",
            f"{row.default:.4f}",
            f"{row.tuned:.4f}",
            f"{row.difference.mean:+.4f}",
            interval,
            row.difference.verdict,
        )
    overall = found.overall
    table.add_row("all", "", "", f"{overall.mean:+.4f}", f"{overall.low:+.4f} … {overall.high:+.4f}", overall.verdict)
    out.print(table)


def _write_json(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
