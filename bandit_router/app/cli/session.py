"""What all commands that talk to a server share: the target, error messages, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bandit_router.client_json import Document, JsonClient
from bandit_router.core.errors import RouterError

DEFAULT_TARGET = "127.0.0.1:50051"
EXIT_REFUSED = 1

Target = Annotated[str, typer.Option("--target", help="Server to talk to, HOST:PORT.", envvar="BANDIT_ROUTER_TARGET")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]
Etag = Annotated[str, typer.Option("--etag", help="Only if the resource still bears this etag.")]


@contextmanager
def connect(target: str) -> Iterator[JsonClient]:
    """A client; a refusal ends the command with its reason on stderr and exit status 1."""
    try:
        with JsonClient(target) as client:
            yield client
    except RouterError as error:
        Console(stderr=True).print(f"{error.reason}: {error.message}", style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_REFUSED) from None


def show(document: Document | Sequence[Document], columns: Sequence[str], *, as_json: bool) -> None:
    """Print one resource or a list of them: as JSON, or as a table of the given fields (dotted paths)."""
    if as_json:
        typer.echo(json.dumps(document))
        return
    rows = [document] if isinstance(document, dict) else document
    table = Table(*[column.rpartition(".")[2] for column in columns])
    for row in rows:
        table.add_row(*[_cell(row, column) for column in columns])
    Console().print(table)


def without_unset(**fields: Any) -> Document:
    """The fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def _cell(row: Document, column: str) -> str:
    value: Any = row
    for part in column.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    if column.endswith("_nusd") and str(value).lstrip("-").isdecimal():
        return f"{int(value) / 1e9:.6f} USD"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
