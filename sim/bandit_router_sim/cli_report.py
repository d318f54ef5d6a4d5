"""`bandit-router-sim report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bandit_router_sim.cli_checks import checked_file
from bandit_router_sim.report.page import write_page
from bandit_router_sim.report.results import NotAComparison

EXIT_USAGE = 2


def report(
    directory: Annotated[Path, typer.Argument(help="What `compare` wrote.", exists=True, file_okay=False)],
    *,
    out: Annotated[
        Path | None, typer.Option(help="The page; report.html in the directory if not given.", callback=checked_file)
    ] = None,
) -> None:
    """Render a comparison as one HTML page that needs nothing else."""
    console = Console(stderr=True)
    try:
        path = write_page(directory, out)
    except NotAComparison as error:
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    console.print(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)", highlight=False)
