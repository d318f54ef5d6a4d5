"""`bandit-router prior …`: what a pool's arms are known to be worth before traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from bandit_router.app.cli.session import DEFAULT_TARGET, EXIT_REFUSED, DryRun, Json, Target, connect, show
from bandit_router.client_json import Document
from bandit_router.core.pool_prior import PoolPrior, worth_of_rewards
from bandit_router.core.prior_codec import CorruptPrior, decode_prior, encode_prior
from bandit_router.core.resources import DEFAULT_DIMENSION
from bandit_router.ports.encoder import EncoderError

PoolId = Annotated[str, typer.Argument(help="The pool's id.")]

priors = typer.Typer(help="Priors: what arms are known to be worth before traffic.", no_args_is_help=True)


@priors.command("fit")
def fit(
    out: Annotated[Path, typer.Option(help="File to write the prior to.")],
    battles: Annotated[
        list[Path] | None,
        typer.Option(help="prompt, model_a, model_b, winner (a, b, tie): JSON lines or parquet.", exists=True),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="prompt, score__M in [0, 1] per arm M, null if unknown: JSON lines or parquet.", exists=True),
    ] = None,
    method: Annotated[str, typer.Option(help="bradley-terry, or pilot (learns a projection, too).")] = "bradley-terry",
    encoder: Annotated[str, typer.Option(help="Encoder of the pool.")] = "static",
    dimension: Annotated[int, typer.Option(help="Dimension of the pool.", min=1)] = DEFAULT_DIMENSION,
    feature: Annotated[list[str] | None, typer.Option(help="A feature the pool declares; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the triplets that the pilot method draws.")] = 0,
    json_output: Json = False,
) -> None:
    """Fit a prior on preference battles and scored answers, for pools of that encoder and dimension."""
    from bandit_router.app.prior_files import UnreadablePriorFile, read_battles, read_scores
    from bandit_router.app.prior_fitting import Coordinates, Method, NothingToFit, fit_prior
    from bandit_router.app.wiring import Encoders

    try:
        chosen = Method(method)
        fitted = fit_prior(
            read_battles(battles or []),
            read_scores(scores or []),
            Encoders()(encoder),
            Coordinates(encoder, dimension, tuple(feature or ()), seed),
            method=chosen,
            origin={"files": ", ".join(path.name for path in [*(battles or []), *(scores or [])])},
        )
    except (UnreadablePriorFile, NothingToFit, EncoderError, ValueError) as refusal:
        _refuse(str(refusal))
    out.write_bytes(encode_prior(fitted.prior))
    _show(describe(fitted.prior), as_json=json_output)


@priors.command("inspect")
def inspect(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], json_output: Json = False) -> None:
    """Show what a prior's file says."""
    try:
        prior = decode_prior(file.read_bytes())
    except CorruptPrior as refusal:
        _refuse(f"{file}: {refusal}")
    _show(describe(prior), as_json=json_output)


@priors.command("import")
def import_prior(
    pool_id: PoolId,
    file: Annotated[Path, typer.Argument(help="What `prior fit` wrote.", exists=True, dir_okay=False)],
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Give a pool a prior, in place of the one before."""
    with connect(target) as client:
        response = client.import_prior(pool_id, file.read_bytes(), dry_run=dry_run)
        show(response, ("rows", "rows_skipped", "arm_ids", "prior_version"), as_json=json_output)


@priors.command("show")
def show_prior(pool_id: PoolId, target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """Show the prior of a pool."""
    with connect(target) as client:
        prior = client.call("GetPrior", {"pool_id": pool_id})["prior"]
    if not json_output and not prior["in_force"]:
        Console().print("not in force: the pool has another projection since", highlight=False)
    _show(prior, as_json=json_output)


@priors.command("remove")
def remove_prior(pool_id: PoolId, target: Target = DEFAULT_TARGET, dry_run: DryRun = False) -> None:
    """Remove the prior of a pool; what was learned from rewards stays."""
    with connect(target) as client:
        client.call("DeletePrior", {"pool_id": pool_id, "dry_run": dry_run})


def describe(prior: PoolPrior) -> Document:
    """A prior for people: its coordinates, its origin, and each arm's expected reward on the average query."""
    return {
        "encoder_id": prior.encoder_id,
        "dimension": prior.dimension,
        "features": list(prior.features),
        "learned_projection": prior.projection is not None,
        "provenance": dict(prior.provenance),
        "arms": [
            {
                "arm_id": arm_id,
                "expected_reward": float(arm.mean[0]),
                "worth_of_rewards": worth_of_rewards(arm),
            }
            for arm_id, arm in prior.arms.items()
        ],
    }


def _show(document: Document, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document))
        return
    console = Console(soft_wrap=True)
    console.print(f"encoder {document['encoder_id']}, dimension {document['dimension']}", highlight=False)
    for name, fact in document["provenance"].items():
        console.print(f"{name}: {fact}", highlight=False)
    table = Table("arm", "expected reward", "worth of rewards")
    for arm in document["arms"]:
        numbers = [f"{arm[key]:.4g}" for key in ("expected_reward", "worth_of_rewards")]
        table.add_row(arm["arm_id"], *numbers)
    console.print(table)


def _refuse(message: str) -> NoReturn:
    Console(stderr=True).print(message, style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT_REFUSED)
