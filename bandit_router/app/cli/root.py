"""The root command: serve, demo, config, doctor, and the groups of the other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bandit_router.app import serve as server
from bandit_router.app.cli.calls import budgets, feedback, route
from bandit_router.app.cli.priors import priors
from bandit_router.app.cli.resources import arms, pools, tenants
from bandit_router.app.cli.session import EXIT_REFUSED
from bandit_router.app.cli.state import events, state
from bandit_router.app.config import ConfigError, load_config
from bandit_router.app.demo.recordings import RecordingsMissing
from bandit_router.app.demo.run import DEFAULT_EXPLORATION, run_demo
from bandit_router.app.doctor import examine

EXIT_USAGE = 2

app = typer.Typer(
    help="Chooses an LLM for each request under a budget, and learns from what became of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
configs = typer.Typer(help="Configuration files.", no_args_is_help=True)

app.add_typer(pools, name="pool")
app.add_typer(arms, name="arm")
app.add_typer(tenants, name="tenant")
app.add_typer(budgets, name="budget")
app.add_typer(priors, name="prior")
app.add_typer(events, name="events")
app.add_typer(state, name="state")
app.add_typer(configs, name="config")
app.command()(route)
app.command()(feedback)


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="YAML file.", exists=True, dir_okay=False)] = None,
    redis_url: Annotated[str | None, typer.Option(help="External store; else an embedded one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded store keeps its data.")] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT; port 0 picks one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes on the port.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the Prometheus metrics.")] = None,
    json_logs: Annotated[bool | None, typer.Option("--json-logs", help="Logs as JSON lines.")] = None,
) -> None:
    """Run a server. Prints one JSON line on stdout when it serves."""
    overrides = {
        "redis_url": redis_url,
        "data_dir": data_dir,
        "listen": listen,
        "workers": workers,
        "metrics_port": metrics_port,
        "json_logs": json_logs,
    }
    raise typer.Exit(server.main(config, overrides))


@app.command()
def demo(
    budget: Annotated[float, typer.Option(help="USD per request.", min=0.0)] = 0.0003,
    requests: Annotated[int, typer.Option(help="How many prompts.", min=1)] = 3609,
    seed: Annotated[int, typer.Option(help="Order of the prompts, and the router's draws.")] = 0,
    exploration: Annotated[str, typer.Option(help="Of its pool, such as igw:tau=60.")] = DEFAULT_EXPLORATION,
    json_output: Annotated[bool, typer.Option("--json", help="Last line: one JSON object.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep the server's data in this directory.")] = None,
) -> None:
    """Route recorded prompts of three real models through a real server."""
    console = Console(stderr=json_output)
    try:
        verdict = run_demo(
            console, budget_usd=budget, requests=requests, seed=seed, exploration=exploration, data_dir=keep
        )
    except RecordingsMissing as error:
        console.print(str(error), style="red")
        raise typer.Exit(EXIT_USAGE) from None
    if json_output:
        typer.echo(json.dumps(verdict.as_json()))
    if not verdict.budget_law_holds:
        raise typer.Exit(EXIT_REFUSED)


@configs.command("check")
def check_config(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Say whether a server would take this file."""
    try:
        load_config(file)
    except ConfigError as error:
        Console(stderr=True).print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    typer.echo(f"{file}: good")


@app.command()
def doctor() -> None:
    """Look whether everything that a server needs is here."""
    findings = examine()
    console = Console()
    for finding in findings:
        console.print(f"{'good' if finding.is_good else 'BAD '}  {finding.name}: {finding.detail}", highlight=False)
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(EXIT_REFUSED)


def main() -> None:
    """Entry point of the command."""
    app()
