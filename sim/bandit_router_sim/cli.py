"""The `bandit-router-sim` command."""

from __future__ import annotations

import typer

from bandit_router_sim.cli_compare import compare
from bandit_router_sim.cli_experiments import experiments
from bandit_router_sim.cli_logs import convert, describe, validate
from bandit_router_sim.cli_ope import ope
from bandit_router_sim.cli_prior import prior_study
from bandit_router_sim.cli_replay import replay
from bandit_router_sim.cli_report import report
from bandit_router_sim.cli_tune import tune
from bandit_router_sim.cli_world import world

app = typer.Typer(
    help="Replays logs through the router's own services.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


app.command()(replay)
app.command()(compare)
app.command()(report)
app.command()(ope)
app.command()(validate)
app.command()(describe)
app.command()(convert)
app.command()(world)
app.command()(experiments)
app.command("prior-study")(prior_study)
app.add_typer(tune, name="tune")


def main() -> None:
    """Entry point of the command."""
    app()
