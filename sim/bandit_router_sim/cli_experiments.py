"""`bandit-router-sim experiments`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bandit_router_sim.cli_checks import checked_budgets, checked_directory, checked_jobs
from bandit_router_sim.experiments.delays import losses, settings_of_delays
from bandit_router_sim.experiments.equal_money import equal_money_table, tasks_with_the_money_of
from bandit_router_sim.experiments.phases import with_a_window_by_phase
from bandit_router_sim.experiments.runs import (
    PLAYERS,
    Ground,
    Task,
    ground_of,
    inner_budgets,
    run_all,
    starts_as,
    tasks_of,
)
from bandit_router_sim.experiments.tables import changes_tables, delays_table, tables_by_phase
from bandit_router_sim.kept.cache import Finished, ResultCache
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.cost_range import cost_range_usd
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.progress import progress_of_runs
from bandit_router_sim.replay.material import UnusableForReplay, prepare
from bandit_router_sim.replay.setting import Material, Setting
from bandit_router_sim.replay.sweep import sweep

EXIT_USAGE = 2
WHAT = ("changes", "delays")
LEAST_ARMS = 3


def experiments(
    log: Annotated[
        Path,
        typer.Argument(help="A full-information log with costs and three arms or more.", exists=True, dir_okay=False),
    ],
    *,
    what: Annotated[str, typer.Option(help=f"Of {', '.join(WHAT)}; comma-separated.")] = ",".join(WHAT),
    budget: Annotated[str, typer.Option(help="USD per request, comma-separated; else three inside the range.")] = "",
    seeds: Annotated[int, typer.Option(help="Orders.", min=1)] = 10,
    players: Annotated[str, typer.Option(help=f"Of {', '.join(PLAYERS)}, for changes.")] = ",".join(PLAYERS),
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core.", callback=checked_jobs)] = -1,
    out: Annotated[
        Path, typer.Option(help="Results; run again to go on where it stopped.", callback=checked_directory)
    ] = Path("experiments"),
) -> None:
    """Changes of prices, quality and arms, played to the default and to ParetoBandit; late and rare feedback."""
    console = Console(stderr=True)
    parts = _among(what, WHAT, "--what")
    playing = _among(players, PLAYERS, "--players")
    given_usd = checked_budgets(budget) if budget else []
    material = _material(log, console)
    budgets_usd = given_usd or inner_budgets(material)
    cache = ResultCache(out)
    tables = []
    if "changes" in parts:
        able = _able(playing, material, console)
        ground = ground_of(material, players=able, kept_in=out / "features")
        tasks = tasks_of(ground, budgets_usd, players=able, seeds=seeds)
        tables.append(_changes(ground, tasks, cache, jobs=jobs, console=console))
    if "delays" in parts:
        tables.append(_delays(material, budgets_usd, cache, seeds=seeds, jobs=jobs, console=console))
    text = "\n\n".join(tables) + "\n"
    (out / "experiments.md").write_text(text, encoding="utf-8")
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def _changes(ground: Ground, tasks: Sequence[Task], cache: ResultCache, *, jobs: int, console: Console) -> str:
    """The tables of all players, with a budget for all phases and one for each, and with the money of peers."""
    found = _played(ground, tasks, cache, jobs=jobs, console=console, what="changes")
    players = {task.player for task in tasks}
    pairs = [
        (theirs, ours)
        for peer in PLAYERS
        if peer in PEERS
        for theirs, ours in tasks_with_the_money_of(found, player=peer)
        if ours.player in players
    ]
    by_phase = _played(ground, with_a_window_by_phase(tasks), cache, jobs=jobs, console=console, what="by phase")
    queries = len(ground.material.log)
    parts = [changes_tables(ground, found), tables_by_phase(by_phase, queries=queries)]
    if pairs:
        same = _played(ground, [ours for _, ours in pairs], cache, jobs=jobs, console=console, what="equal money")
        parts += ["### With the peer's money", equal_money_table(pairs, {**found, **same}, queries=queries)]
    return "\n\n".join(parts)


def _played(
    ground: Ground, tasks: Sequence[Task], cache: ResultCache, *, jobs: int, console: Console, what: str
) -> dict[Task, Finished]:
    found = {}
    with progress_of_runs(console) as progress:
        bar = progress.add_task(what, total=len(tasks))
        for task, finished in run_all(ground, tasks, cache, jobs=jobs):
            found[task] = finished
            progress.advance(bar)
    return found


def _delays(
    material: Material, budgets_usd: Sequence[float], cache: ResultCache, *, seeds: int, jobs: int, console: Console
) -> str:
    settings = settings_of_delays(budgets_usd, seeds=seeds)
    runs: list[tuple[Setting, Finished]] = []
    with progress_of_runs(console) as progress:
        bar = progress.add_task("delays", total=len(settings))
        for run in sweep(material, settings, cache=cache, jobs=jobs):
            runs.append(run)
            progress.advance(bar)
    return delays_table(losses(runs, queries=len(material.log)))


def _able(players: Sequence[str], material: Material, console: Console) -> list[str]:
    """The players that can play here; why the others cannot is said."""
    peers = {name: starts_as(name) for name in players if starts_as(name) in PEERS}
    reasons = {name: PEERS[peer].why_not(material.log.arm_ids) for name, peer in peers.items()}
    for reason in dict.fromkeys(filter(None, reasons.values())):
        console.print(f"left out: {reason}", highlight=False)
    return [name for name in PLAYERS if name in players and not reasons.get(name)]


def _among(text: str, known: Sequence[str], option: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=option)
    return names


def _material(path: Path, console: Console) -> Material:
    try:
        material = prepare(read_full_log(path)[0])
        if len(material.log.arm_ids) < LEAST_ARMS:
            raise UnusableForReplay(f"{material.log.name}: one arm joins the others, so {LEAST_ARMS} are needed")
        cost_range_usd(material.log)
        return material
    except (LogError, UnusableForReplay) as error:
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
