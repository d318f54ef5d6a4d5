"""`bandit-router events …` and `bandit-router state …`: the event log, dead events, and the state as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from bandit_router.app.cli.resources import PoolId
from bandit_router.app.cli.session import DEFAULT_TARGET, DryRun, Json, Target, connect, show
from bandit_router.client_state import export_state, import_state

_DEAD = ("position", "died_at", "tries", "reason", "event.decision_id", "event.tenant_id")


class _ExportByDefault(TyperGroup):
    """`events POOL` is short for `events export POOL`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["export", *args]
        return super().parse_args(ctx, args)


events = typer.Typer(help="The event log of a pool.", no_args_is_help=True, cls=_ExportByDefault)
state = typer.Typer(help="The whole state of the service as a file.", no_args_is_help=True)


@events.command("export")
def export_events(
    pool_id: PoolId,
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    target: Target = DEFAULT_TARGET,
) -> None:
    """Print the event log of a pool as JSON lines: what the simulator replays and evaluates. The default."""
    with connect(target) as client:
        for response in client.stream("StreamEvents", {"pool_id": pool_id, "tenant_id": tenant}):
            for event in response["events"]:
                typer.echo(json.dumps(event))


@events.command("dead")
def list_dead(pool_id: PoolId, target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """List the events that could not be learned (the first thousand)."""
    with connect(target) as client:
        found = client.call("ListDeadEvents", {"pool_id": pool_id, "page_size": 1000})["events"]
        show(found, _DEAD, as_json=json_output)


@events.command("redrive")
def redrive(pool_id: PoolId, target: Target = DEFAULT_TARGET) -> None:
    """Have dead events tried again; those that fail again stay dead."""
    with connect(target) as client:
        client.call("RedriveEvents", {"pool_id": pool_id})


@state.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write.")], target: Target = DEFAULT_TARGET
) -> None:
    """Write everything the service keeps to a file, while it goes on serving."""
    with connect(target) as client:
        size = export_state(client, file)
    typer.echo(f"{file}: {size} bytes")


@state.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="As `export` wrote it.")],
    replace: Annotated[bool, typer.Option("--replace", help="Drop what is there; restart all servers after.")] = False,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Take in an exported state: all of it or, if anything is wrong with the file, nothing."""
    with connect(target) as client:
        counts = import_state(client, file, replace=replace, dry_run=dry_run)
    show(counts, ("pools", "arms", "tenants", "decisions", "events"), as_json=json_output)
