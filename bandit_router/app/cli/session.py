"""What all commands that talk to a server share: the target, error messages, tables and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from bandit_router.client_json import Document, JsonClient
from bandit_router.core.errors import RouterError
from bandit_router.core.money import format_usd

DEFAULT_TARGET = "127.0.0.1:50051"
EXIT_REFUSED = 1
_ENUM_PREFIX = re.compile(r"^(DECISION_REASON|FEEDBACK_STATUS|WINDOW_KIND|BUDGET_EDIT_KIND)_")

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
    """Print the given fields (dotted paths) of one resource, a line each, or of a list, as a table; or all as JSON."""
    if as_json:
        typer.echo(json.dumps(document))
    elif isinstance(document, dict):
        table = Table.grid("", "", padding=(0, 2))
        for column in columns:
            table.add_row(_title(column), _cell(document, column))
        Console(soft_wrap=True).print(table)
    else:
        table = Table(*[Column(_title(column), overflow="fold") for column in columns])
        for row in document:
            table.add_row(*[_cell(row, column) for column in columns])
        Console().print(table)


def without_unset(**fields: Any) -> Document:
    """The fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def _title(column: str) -> str:
    return column.removesuffix("_nusd").replace(".", " ").replace("_", " ")


def _cell(row: Document, column: str) -> str:
    value: Any = row
    for part in column.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    if column.endswith("_nusd") and value != "":
        return f"{format_usd(int(value))} USD"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _ENUM_PREFIX.sub("", str(value))
