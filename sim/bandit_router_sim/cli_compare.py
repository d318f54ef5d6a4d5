"""`bandit-router-sim compare`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bandit_router.adapters.encoding.factory import UnknownEncoder
from bandit_router_sim.cli_checks import checked_directory, checked_jobs, reason_of, told_apart
from bandit_router_sim.compare.arms import ARM_LISTS
from bandit_router_sim.compare.comparison import BASELINE, Comparison, Plan
from bandit_router_sim.compare.comparison import compare as compare_all
from bandit_router_sim.compare.provenance import Provenance, commit_of, installed_versions
from bandit_router_sim.compare.report import as_markdown, write_report
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.progress import progress_of_runs
from bandit_router_sim.references.registry import REFERENCES
from bandit_router_sim.replay.material import UnusableForReplay, prepare
from bandit_router_sim.replay.setting import POLICIES, Material
from bandit_router_sim.report.page import write_page

EXIT_USAGE = 2
QUICK_BUDGETS, QUICK_SEEDS, QUICK_ROWS = 3, 2, 1500


def compare(
    logs: Annotated[
        list[Path], typer.Argument(help="Full-information logs: parquet, JSONL or CSV.", exists=True, dir_okay=False)
    ],
    *,
    budgets: Annotated[int, typer.Option(help="Budgets per log, between the cheapest and dearest arm.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="Orders.", min=1)] = 20,
    policies: Annotated[str, typer.Option(help=f"Of {', '.join(POLICIES)}; comma-separated.")] = BASELINE,
    peers: Annotated[str, typer.Option(help=f"all, none, or of {', '.join(PEERS)}.")] = "all",
    references: Annotated[str, typer.Option(help=f"all, none, or of {', '.join(REFERENCES)}.")] = "all",
    arm: Annotated[list[str] | None, typer.Option(help="Compare only these arms; repeatable.")] = None,
    learn_share: Annotated[float, typer.Option(help="Share of each order to learn on.", min=0.01, max=0.99)] = 0.5,
    max_rows: Annotated[int | None, typer.Option(help="At most so many queries of a log.", min=4)] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the prompts.")] = "static",
    quick: Annotated[bool, typer.Option("--quick", help="3 budgets, 2 orders, 1,500 queries: a smoke run.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core.", callback=checked_jobs)] = -1,
    out: Annotated[
        Path, typer.Option(help="Results; run again to go on where it stopped.", callback=checked_directory)
    ] = Path("comparison"),
    date: Annotated[str, typer.Option(help="Day printed in the report; today (UTC) if not given.")] = "",
) -> None:
    """Compare policies, peers and references on the same logs, orders and budgets."""
    console = Console(stderr=True)
    plan = Plan(
        policies=[POLICIES[name] for name in _names(policies, list(POLICIES), "--policies")],
        peers=_names(peers, list(PEERS), "--peers"),
        references=_names(references, list(REFERENCES), "--references"),
        budgets=budgets,
        seeds=seeds,
        learn_share=learn_share,
        max_rows=max_rows,
        jobs=jobs,
    )
    if quick:
        plan = replace(plan, budgets=QUICK_BUDGETS, seeds=QUICK_SEEDS, max_rows=QUICK_ROWS)
    if not (plan.policies or plan.peers or plan.references):
        raise typer.BadParameter("--policies, --peers and --references are all none: there is nothing to compare")
    materials = [_material(path, encoder=encoder, arms=arm or [], console=console) for path in told_apart(logs)]
    try:
        comparison = _run(materials, plan, out, console)
    except LogError as error:
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    write_report(comparison, out, _provenance(plan, date))
    page = write_page(out)
    Console(soft_wrap=True).print(as_markdown(comparison), markup=False, highlight=False)
    console.print(f"written: {out}/compare.md, compare.json, compare.parquet, {page.name}", highlight=False)


def _run(materials: Sequence[Material], plan: Plan, out: Path, console: Console) -> Comparison:
    with progress_of_runs(console) as progress:
        bar = progress.add_task("runs", total=None)
        return compare_all(
            materials,
            plan,
            out_dir=out,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def _provenance(plan: Plan, date: str) -> Provenance:
    return Provenance(
        command=shlex.join(["bandit-router-sim", *sys.argv[1:]]),
        date=date or datetime.now(tz=UTC).date().isoformat(),
        commit=commit_of(Path(__file__)),
        seeds=list(range(plan.seeds)),
        learn_share=plan.learn_share,
        max_rows=plan.max_rows,
        versions=installed_versions(),
    )


def _names(text: str, known: Sequence[str], option: str) -> list[str]:
    if text in ("all", "none"):
        return list(known) if text == "all" else []
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=option)
    return names


def _material(path: Path, *, encoder: str, arms: Sequence[str], console: Console) -> Material:
    try:
        log, _ = read_full_log(path)
        material = prepare(log, encoder_id=encoder, arm_ids=arms or ARM_LISTS.get(log.name, ()))
    except (LogError, UnusableForReplay, UnknownEncoder, KeyError) as error:
        console.print(reason_of(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    shape = f"{len(material.log)} of {len(log)} queries × {len(material.log.arm_ids)} arms"
    console.print(f"{material.log.name}: {shape}", highlight=False)
    return material
