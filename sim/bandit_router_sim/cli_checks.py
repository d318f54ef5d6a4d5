"""What commands check before they begin, so that a wrong option is named, and not the call that it broke."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.spec import SpecError
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.logs.kinds import is_decision_log
from bandit_router_sim.replay.setting import Policy


def checked_policy(policy: Policy) -> Policy:
    """The policy, if the pool that it describes makes sense; otherwise the command ends."""
    _parsed(parse_learner, policy.learner, "--learner")
    _parsed(parse_exploration, policy.exploration, "--exploration")
    return policy


def checked_jobs(jobs: int) -> int:
    """A number of processes: at least one, or -1 for one per core; otherwise the command ends."""
    if jobs == 0:
        raise typer.BadParameter("must be at least 1, or -1 for one per core")
    return jobs


def checked_budgets(text: str) -> list[float]:
    """Budgets in USD per request, separated by commas and positive; otherwise the command ends."""
    try:
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter("must be numbers of USD separated by commas", param_hint="--budget") from None
    if not all(0.0 < budget < float("inf") for budget in budgets):
        raise typer.BadParameter("must be positive", param_hint="--budget")
    return budgets


def checked_file(path: Path | None) -> Path | None:
    """A file that can be made where it shall be: known before a long run and not after it; else the command ends."""
    if path is not None and not path.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {str(path.parent)!r}")
    if path is not None and path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a directory, and a file is to be written")
    return path


def checked_directory(path: Path | None) -> Path | None:
    """A directory that is there or can be made; otherwise the command ends."""
    if path is not None and any(place.is_file() for place in (path, *path.parents)):
        raise typer.BadParameter(f"{str(path)!r} is a file or in one, and a directory is to be written")
    return path


def told_apart(paths: Sequence[Path]) -> list[Path]:
    """Logs of different names, by which results tell them apart; otherwise the command ends."""
    twice = [path for number, path in enumerate(paths) if path.stem in [before.stem for before in paths[:number]]]
    if twice:
        raise typer.BadParameter(
            f"{twice[0]}: results tell logs apart by their names, and {twice[0].stem!r} comes twice"
        )
    return list(paths)


def holds_decisions(path: Path) -> bool:
    """Whether the file is a decision log. Where it cannot be read at all, the command ends."""
    try:
        return is_decision_log(path)
    except LogError as error:
        raise typer.BadParameter(str(error), param_hint="the log") from None


def hold_decisions(paths: Sequence[Path]) -> bool:
    """Whether the files are decision logs, all of them or none. Where some are or one is unreadable, the command ends.

    Their replays have other options, and other figures to show.
    """
    found = {holds_decisions(path): path for path in reversed(paths)}
    if len(found) > 1:
        raise typer.BadParameter(f"{found[True]} is a decision log and {found[False]} is not; replay them apart")
    return found.popitem()[0]


def reason_of(error: Exception) -> str:
    """What an error says; a KeyError shows its own text quoted otherwise."""
    return str(error.args[0]) if isinstance(error, KeyError) else str(error)


def _parsed(parse: Callable[[str], object], text: str, option: str) -> None:
    try:
        parse(text)
    except SpecError as refusal:
        raise typer.BadParameter(str(refusal), param_hint=option) from None
