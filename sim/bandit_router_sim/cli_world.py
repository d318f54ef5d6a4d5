"""`bandit-router-sim world`."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console

from bandit_router_sim.cli_checks import checked_jobs
from bandit_router_sim.world.failure import DEFAULT_STEPS, WorldFailure
from bandit_router_sim.world.run import fresh_seed, play, play_all
from bandit_router_sim.world.world import WorldResult, run_world

_SHOWN = 3
EXIT_FAILED = 1


def world(
    *,
    seed: Annotated[int | None, typer.Option(help="Play this world only.", min=0)] = None,
    seeds: Annotated[int, typer.Option(help="Worlds to play.", min=1)] = 100,
    first: Annotated[int | None, typer.Option("--from", help="First seed; a fresh one if not given.", min=0)] = None,
    steps: Annotated[int, typer.Option(help="Acts in each world.", min=1)] = DEFAULT_STEPS,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core.", callback=checked_jobs)] = 1,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: print everything that happens.")] = False,
) -> None:
    """Play the whole service in memory under faults, each world decided by its seed, and check every step."""
    out = Console(soft_wrap=True, highlight=False, markup=False)
    if seed is not None:
        _play_one(out, seed, steps, trace=trace)
        return
    start = fresh_seed() if first is None else first
    chosen = range(start, start + seeds)
    out.print(f"seeds {chosen[0]} to {chosen[-1]}, {steps} steps each")
    began = time.perf_counter()
    results: list[WorldResult] = []
    failed: list[int] = []
    for result in play_all(chosen, steps=steps, jobs=jobs):
        if isinstance(result, WorldResult):
            results.append(result)
            continue
        failed.append(result.seed)
        if len(failed) <= _SHOWN:
            out.print(str(result))
    _summarise(out, results, time.perf_counter() - began)
    if failed:
        out.print(f"failed seeds: {', '.join(map(str, failed))}")
        raise typer.Exit(EXIT_FAILED)


def _play_one(out: Console, seed: int, steps: int, *, trace: bool) -> None:
    result = play(seed, steps)
    if isinstance(result, WorldFailure):
        out.print(str(result))
        raise typer.Exit(EXIT_FAILED)
    if trace:
        for line in run_world(seed, steps=steps, keep_trace=True).trace:
            out.print(line)
    out.print(f"seed {seed}: no rule broken, trace {result.digest}")
    _summarise(out, [result], None)


def _summarise(out: Console, results: list[WorldResult], took_s: float | None) -> None:
    totals = {
        name: sum(getattr(r, name) for r in results) for name in ("effects", "routed", "refused", "away", "reports")
    }
    speed = "" if took_s is None else f" in {took_s:.1f} s"
    out.print(
        f"{len(results)} worlds without a failure{speed}: {totals['effects']} events, {totals['routed']} decisions, "
        f"{totals['refused']} refusals, {totals['away']} calls away, {totals['reports']} reports"
    )
