"""`bandit-router-sim validate|describe|convert`: looking at logs before they are trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from bandit_router_sim.cli_checks import checked_file
from bandit_router_sim.logs.battles import Battles
from bandit_router_sim.logs.canonical import read_full_log, write_full_log
from bandit_router_sim.logs.converters import CONVERTERS
from bandit_router_sim.logs.describe import describe as describe_log
from bandit_router_sim.logs.describe import render_table
from bandit_router_sim.logs.errors import BadRow, LogError
from bandit_router_sim.logs.full import FullLog

EXIT_REFUSED = 1
KINDS = [kind for kind in CONVERTERS if kind != "generic"]
"""The generic converter is told what the columns are, in Python."""

LogFiles = Annotated[
    list[Path], typer.Argument(help="Full-information logs: parquet, JSONL or CSV.", exists=True, dir_okay=False)
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and count them.")]


def validate(logs: LogFiles, *, skip_bad: SkipBad = False) -> None:
    """Check every row of logs; the first bad one ends it, with its file, row, column and rule."""
    for path in logs:
        log, skipped = _read(path, skip_bad=skip_bad)
        complete = len(log.complete_rows())
        typer.echo(f"{path}: {len(log)} rows, {len(log.arm_ids)} arms, {complete} rows complete")
        for rule, count in skipped.items():
            typer.echo(f"  left out {count} rows: {rule}")


def describe(
    logs: LogFiles,
    *,
    skip_bad: SkipBad = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document a log.")] = False,
) -> None:
    """Arms with their scores and costs, the oracle, and the static-mix hull of logs."""
    for path in logs:
        log, _ = _read(path, skip_bad=skip_bad)
        description = describe_log(log)
        typer.echo(json.dumps(description.as_dict()) if json_output else render_table(description))


def convert(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")],
    sources: Annotated[list[Path], typer.Argument(help="Files of that kind.", exists=True)],
    *,
    out: Annotated[Path, typer.Option(help="Canonical log to write: .parquet or .jsonl.", callback=checked_file)],
    skip_bad: SkipBad = False,
) -> None:
    """Turn a published log into the canonical format."""
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(KINDS)}", param_hint="KIND")
    bad: list[BadRow] = []
    try:
        log = CONVERTERS[kind](*sources, on_bad=bad.append if skip_bad else None)
    except LogError as error:
        _refuse(error)
    if isinstance(log, Battles):
        raise typer.BadParameter(f"{kind} holds battles; they have no full-information form", param_hint="KIND")
    write_full_log(log, out)
    typer.echo(f"{out}: {len(log)} rows, {len(log.arm_ids)} arms; left out {len(bad)}")


def _read(path: Path, *, skip_bad: bool) -> tuple[FullLog, dict[str, int]]:
    try:
        log, skipped = read_full_log(path, skip_bad=skip_bad)
    except LogError as error:
        _refuse(error)
    return log, dict(skipped.by_rule)


def _refuse(error: LogError) -> NoReturn:
    Console(stderr=True).print(str(error), style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT_REFUSED) from None
