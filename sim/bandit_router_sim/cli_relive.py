"""What commands share that live through a decision log again: reading it, and showing what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bandit_router_sim.logs.decision_events import read_decision_log
from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.ope.missing import rows_of
from bandit_router_sim.replay.setting import ArmPricing, Policy
from bandit_router_sim.tune.counterfactual import METHOD, Counterfactual, counterfactuals
from bandit_router_sim.tune.list_prices import read_list_prices
from bandit_router_sim.tune.past import CannotRelive, Past, past_of

EXIT_REFUSED = 1


def refuse(console: Console, reason: str) -> typer.Exit:
    """Say why there is no answer; to be raised."""
    console.print(reason, style="red", highlight=False, soft_wrap=True)
    return typer.Exit(EXIT_REFUSED)


def read_decisions(path: Path, *, tenant: str, skip_bad: bool, console: Console) -> DecisionLog:
    """The decisions of a tenant ('': of all). Ends the command where the log is no use."""
    try:
        log, skipped = read_decision_log(path, skip_bad=skip_bad)
    except LogError as error:
        raise refuse(console, str(error)) from None
    if skipped.total:
        console.print(f"left out: {skipped.total} bad events", highlight=False)
    if tenant:
        log = rows_of(log, np.flatnonzero(np.array(log.tenant_ids) == tenant))
    if not len(log):
        raise refuse(console, f"{path}: no decision" + (f" of tenant {tenant!r}" if tenant else ""))
    return log


def read_past(
    path: Path,
    log: DecisionLog,
    *,
    without: Sequence[str] = (),
    reprices: Sequence[str] = (),
    console: Console,
) -> Past:
    """The log ready to be lived through; `reprices` are 'ARM=IN/OUT'. Ends the command where it cannot be."""
    list_prices = read_list_prices(path)
    changed = dict(_reprice(text, list_prices.get(text.partition("=")[0])) for text in reprices)
    try:
        past = past_of(log, list_prices=list_prices, without=tuple(without), reprices=changed)
    except CannotRelive as error:
        raise refuse(console, f"refused: {error.refusal.reason}") from None
    if set(past.prices) - set(list_prices):
        console.print("list prices cannot be told from the quotes; holds cover the dearest bill", highlight=False)
    return past


@dataclass(frozen=True, slots=True)
class Relive:
    """How `replay` lives through decision logs: a limit for a whole log (None: budgets say it), seeds and files."""

    limit_usd: float | None
    seeds: int
    jobs: int
    skip_bad: bool
    json_file: Path | None


def replay_decisions(paths: Sequence[Path], policy: Policy, budgets_usd: Sequence[float], how: Relive) -> None:
    """`replay` of decision logs: the closed loop of `tune.counterfactual`, by default under the log's own spend."""
    console, runs = Console(stderr=True), []
    for path in paths:
        log = read_decisions(path, tenant="", skip_bad=how.skip_bad, console=console)
        past = read_past(path, log, console=console)
        budgets = budgets_of(log, budgets_usd, how.limit_usd)
        found = counterfactuals(past, policy, budgets, seeds=how.seeds, jobs=how.jobs, console=console)
        show(found, console=console, out=Console())
        runs += [{"log": log.name, **each.as_dict()} for each in found]
    if how.json_file is not None:
        how.json_file.write_text(json.dumps({"method": METHOD, "runs": runs}, indent=1) + "\n", encoding="utf-8")


def budgets_of(log: DecisionLog, budgets_usd: Sequence[float], limit_usd: float | None) -> list[float]:
    """Budgets per request: those given, the one that a limit for the whole log comes to, or else the log's mean bill.

    `past_of` has seen that there are bills.
    """
    limits = [] if limit_usd is None else [limit_usd / len(log)]
    return [*budgets_usd, *limits] or [float(np.nanmean(log.costs_usd))]


def show(found: Sequence[Counterfactual], *, console: Console, out: Console) -> None:
    """The table of what came of every budget, and how it was found."""
    console.print(f"{METHOD}; {found[0].rows} requests, {found[0].seeds} seeds", highlight=False, soft_wrap=True)
    table = Table(
        "budget USD", "quality", "95 %", "spend USD", "95 %", "in the loop", "refusals", "λ first … last tenth"
    )
    for each in found:
        table.add_row(f"{each.budget_usd:g}", *_cells(each))
    out.print(table)
    for each in found:
        if each.refusal is not None:
            text = f"{each.budget_usd:g} USD: refused: {each.refusal.reason}"
            out.print(text, style="red", highlight=False, soft_wrap=True)


def _cells(each: Counterfactual) -> list[str]:
    path = f"{each.price_path[0]:.3g} … {each.price_path[-1]:.3g}"
    loop = f"{each.quality_in_loop:.4f} for {each.spend_usd_in_loop:.3g}"
    if each.quality is None or each.spend_usd is None:
        return ["–", "refused", "–", "refused", loop, f"{each.refusals:.1f}", path]
    quality, spend = each.quality, each.spend_usd
    return [
        f"{quality.value:.4f}",
        f"{quality.low:.4f} … {quality.high:.4f}",
        f"{spend.value:.3g}",
        f"{spend.low:.3g} … {spend.high:.3g}",
        loop,
        f"{each.refusals:.1f}",
        path,
    ]


def _reprice(text: str, old: ArmPricing | None) -> tuple[str, ArmPricing]:
    arm_id, _, prices = text.partition("=")
    parts = prices.split("/")
    try:
        valid = len(parts) == 2 and all(0.0 <= float(part) < float("inf") for part in parts)
    except ValueError:
        valid = False
    if not (arm_id and valid):
        raise typer.BadParameter(f"{text!r} is not ARM=IN/OUT in USD per million tokens", param_hint="--reprice")
    longest = old.max_output_tokens if old else 1
    return arm_id, ArmPricing(parts[0], parts[1], longest)
