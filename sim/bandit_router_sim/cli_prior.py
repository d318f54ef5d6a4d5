"""`bandit-router-sim prior-study`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from bandit_router.core.resources import DEFAULT_LEARNER
from bandit_router_sim.cli_checks import checked_file, checked_jobs, checked_policy
from bandit_router_sim.compare.arms import ARM_LISTS
from bandit_router_sim.logs.battles import read_battles
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.cost_range import cost_range_usd
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.prior_study.derived import PRIORS
from bandit_router_sim.prior_study.foretold import foretell, ground_of
from bandit_router_sim.prior_study.saved import PILOT_POLICIES, PILOT_PRIORS, Curve, curves
from bandit_router_sim.prior_study.tables import curve_table, forecast_table
from bandit_router_sim.replay.material import UnusableForReplay, prepare
from bandit_router_sim.replay.order import random_of
from bandit_router_sim.replay.setting import Material, Policy

EXIT_USAGE = 2
_SAMPLE_SEED = 2_147_483_646
"""Not a seed of any replayed order."""


def prior_study(
    logs: Annotated[
        list[Path] | None, typer.Argument(help="Full-information logs with costs.", exists=True, dir_okay=False)
    ] = None,
    battles: Annotated[Path | None, typer.Option(help="Preference battles.", exists=True, dir_okay=False)] = None,
    budgets: Annotated[int, typer.Option(help="Budgets per log, strictly between cheapest and dearest.", min=1)] = 3,
    seeds: Annotated[int, typer.Option(help="Orders.", min=1)] = 20,
    learner: Annotated[str, typer.Option(help="Learner that the priors are given to.")] = DEFAULT_LEARNER,
    pilot: Annotated[bool, typer.Option("--pilot", help="PILOT's choices: learner, cosine, threshold.")] = False,
    splits: Annotated[int, typer.Option(help="Splits of the battles by prompt.", min=1)] = 5,
    max_rows: Annotated[int | None, typer.Option(help="At most so many queries of a log, drawn once.", min=200)] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core.", callback=checked_jobs)] = -1,
    out: Annotated[Path | None, typer.Option(help="Write the tables to this file.", callback=checked_file)] = None,
) -> None:
    """What priors are worth: forecasts of unseen battles, and decisions saved with priors from derived battles."""
    if battles is None and not logs:
        raise typer.BadParameter("give logs with costs, or --battles, or both", param_hint="LOGS")
    parts = []
    try:
        if battles is not None:
            parts.append(forecast_table(foretell(ground_of(read_battles(battles)[0]), splits=splits)))
        found: dict[tuple[str, float], dict[str, Curve]] = {}
        for path in logs or []:
            material = _material(path, max_rows)
            for budget_usd in budgets_of(material, budgets):
                for label, policy, priors in _plan(learner, is_pilot=pilot):
                    key = f"{material.log.name}{label}", budget_usd
                    found[key] = dict(
                        curves(material, budget_usd, seeds=seeds, priors=priors, policy=policy, jobs=jobs)
                    )
    except (LogError, UnusableForReplay) as error:
        Console(stderr=True).print(str(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    parts += [curve_table(found)] if found else []
    text = "\n\n".join(parts) + "\n"
    typer.echo(text, nl=False)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def _plan(learner: str, *, is_pilot: bool) -> list[tuple[str, Policy, Sequence[str]]]:
    """What is replayed: a label, a policy, and the priors that it is given."""
    if not is_pilot:
        return [("", checked_policy(Policy(learner=learner)), tuple(PRIORS))]
    return [(f", {name}", policy, PILOT_PRIORS) for name, policy in PILOT_POLICIES.items()]


def budgets_of(material: Material, count: int) -> list[float]:
    """Budgets log-spaced strictly between the cheapest arm's mean cost and the dearest's."""
    low_usd, high_usd = cost_range_usd(material.log)
    return np.geomspace(low_usd, high_usd, count + 2)[1:-1].tolist()  # type: ignore[no-any-return]


def _material(path: Path, max_rows: int | None) -> Material:
    log, _ = read_full_log(path)
    if max_rows is not None:
        log = log.rows(random_of(_SAMPLE_SEED).permutation(len(log))[:max_rows])
    return prepare(log, arm_ids=ARM_LISTS.get(log.name, ()))
