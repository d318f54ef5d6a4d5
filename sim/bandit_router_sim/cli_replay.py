"""`bandit-router-sim replay`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Column, Table

from bandit_router.adapters.encoding.factory import UnknownEncoder
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.resources import HoldPolicy, WindowKind
from bandit_router_sim.cli_checks import (
    checked_budgets,
    checked_directory,
    checked_file,
    checked_jobs,
    checked_policy,
    hold_decisions,
    reason_of,
    told_apart,
)
from bandit_router_sim.cli_relive import Relive, replay_decisions
from bandit_router_sim.kept.cache import Finished, ResultCache
from bandit_router_sim.logs.canonical import read_full_log
from bandit_router_sim.logs.errors import LogError
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.progress import progress_of_runs
from bandit_router_sim.replay.cluster import BACKENDS, ClusterMissing
from bandit_router_sim.replay.course import course_of
from bandit_router_sim.replay.files import write_json, write_results
from bandit_router_sim.replay.material import UnusableForReplay, prepare
from bandit_router_sim.replay.named import NAMED
from bandit_router_sim.replay.order import learning_requests
from bandit_router_sim.replay.scenario import SOLE_TENANT, Scenario, ScenarioError
from bandit_router_sim.replay.scenario_file import read_scenario
from bandit_router_sim.replay.setting import POLICIES, Material, Policy, Setting
from bandit_router_sim.replay.sweep import settings_of, sweep

EXIT_USAGE = 2
HOLDS = [policy.value for policy in HoldPolicy]
_MEANS = ("reward", "spent USD", "used", "refused")
_PARTS = {"phases": "phase", "windows": "window", "tenants": "tenant_id"}
KINDS = [kind.value for kind in WindowKind if kind is not WindowKind.FIXED]

DefaultReward = Annotated[float | None, typer.Option(help="Assumed of answers that get none.", min=0.0, max=1.0)]
Results = Annotated[
    Path | None, typer.Option(help="Results; run again to go on where it stopped.", callback=checked_directory)
]
DefaultAfter = Annotated[int | None, typer.Option(help="Requests until --default-reward is assumed.", min=1)]


@dataclass(frozen=True, slots=True)
class _Play:
    """The scenario asked for, and what flags change of it."""

    scenario: str
    changed: dict[str, Any]
    limit_usd: float | None

    def over(self, log: FullLog) -> Scenario:
        """The scenario for a log. Raises ScenarioError."""
        scenario = NAMED[self.scenario](log) if self.scenario in NAMED else read_scenario(Path(self.scenario))
        if self.limit_usd is not None:
            if scenario.tenants != (SOLE_TENANT,):
                raise ScenarioError("tenants: have budgets of their own; leave --limit-usd out")
            scenario = replace(scenario, tenants=(replace(SOLE_TENANT, limit_usd=self.limit_usd),))
        return replace(scenario, **self.changed)


def replay(
    logs: Annotated[
        list[Path], typer.Argument(help="Full-information logs, or decision logs.", exists=True, dir_okay=False)
    ],
    *,
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = "default",
    budget: Annotated[str, typer.Option(help="USD per request; several separated by commas.")] = "",
    limit_usd: Annotated[float | None, typer.Option(help="Instead: USD per reported window.", min=1e-9)] = None,
    seeds: Annotated[int, typer.Option(help="Orders to replay.", min=1)] = 1,
    learn_share: Annotated[float, typer.Option(help="Share of each order to learn on.", min=0.0, max=0.99)] = 0.5,
    learner: Annotated[str | None, typer.Option(help="Another learner, such as linucb:alpha=0.2.")] = None,
    exploration: Annotated[str | None, typer.Option(help="Another exploration, such as igw:tau=800.")] = None,
    hold_policy: Annotated[str | None, typer.Option(help=f"One of {', '.join(HOLDS)}.")] = None,
    scenario: Annotated[str, typer.Option(help=f"A YAML file, or one of {', '.join(NAMED)}.")] = "stationary",
    reward_delay: Annotated[int | None, typer.Option(help="Requests until a reward comes.", min=0)] = None,
    bill_delay: Annotated[int | None, typer.Option(help="Requests until a bill comes.", min=0)] = None,
    reward_rate: Annotated[float | None, typer.Option(help="Share of rewards that come.", min=0.0, max=1.0)] = None,
    default_reward: DefaultReward = None,
    default_reward_after: DefaultAfter = None,
    windows: Annotated[int | None, typer.Option(help="Budget windows in the reported stretch.", min=1)] = None,
    window: Annotated[str | None, typer.Option(help=f"Their kind: {', '.join(KINDS)}.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Replay only these arms; repeatable.")] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the prompts.")] = "static",
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core.", callback=checked_jobs)] = -1,
    backend: Annotated[str, typer.Option(help=f"Where: {', '.join(BACKENDS)}.")] = "loky",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and count them.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the runs to this file.", callback=checked_file)
    ] = None,
    out: Results = None,
) -> None:
    """Replay logs under budgets; rewards, spend and refusals are those after learning; decision logs count whole."""
    console = Console(stderr=True)
    chosen = _policy(policy, learner=learner, exploration=exploration, hold_policy=hold_policy)
    _one_of(backend, BACKENDS, "--backend")
    kind = None if window is None else WindowKind(_one_of(window, KINDS, "--window"))
    flags = {"reward_delay": reward_delay, "bill_delay": bill_delay, "reward_rate": reward_rate, "windows": windows}
    default = {"default_reward": default_reward, "default_reward_after": default_reward_after}
    changed = {name: value for name, value in {**flags, **default, "window": kind}.items() if value is not None}
    if hold_decisions(logs):
        _no_scenario(scenario != "stationary" or bool(changed) or bool(arm) or out is not None)
        how = Relive(limit_usd, seeds, jobs, skip_bad, json_file)
        replay_decisions(logs, chosen, checked_budgets(budget) if budget else [], how)
        return
    play = _Play(scenario, changed, limit_usd)
    cache = None if out is None else ResultCache(out)
    runs: list[tuple[FullLog, Setting, Finished]] = []
    for path in told_apart(logs):
        material = _material(path, encoder=encoder, arms=arm or [], skip_bad=skip_bad, console=console)
        settings = _settings(material.log, chosen, play, budget=budget, seeds=seeds, learn_share=learn_share)
        runs.extend(_run(material, settings, cache, jobs=jobs, backend=backend, console=console))
    if json_file is not None:
        write_json(runs, json_file)
    if out is not None:
        write_results(runs, out)
    rows = [finished.row for _, _, finished in runs]
    Console().print(_table(rows))
    for part, name in _PARTS.items():
        if any(len(row[part]) > 1 for row in rows):
            Console().print(_parts_table(rows, part, name))


def _no_scenario(is_asked: bool) -> None:
    if is_asked:
        raise typer.BadParameter("decision logs are replayed as they came: no scenario, delays, windows, arms or --out")


def _run(
    material: Material,
    settings: Sequence[Setting],
    cache: ResultCache | None,
    *,
    jobs: int,
    backend: str,
    console: Console,
) -> list[tuple[FullLog, Setting, Finished]]:
    """The settings' results in their order."""
    found: dict[Setting, Finished] = {}
    try:
        with progress_of_runs(console) as progress:
            bar = progress.add_task(material.log.name, total=len(settings))
            for setting, finished in sweep(material, settings, cache=cache, jobs=jobs, backend=backend):
                found[setting] = finished
                progress.advance(bar)
    except InvalidRequest as refusal:
        raise typer.BadParameter(str(refusal)) from None
    except ClusterMissing as refusal:
        raise typer.BadParameter(str(refusal), param_hint="--backend") from None
    return [(material.log, setting, found[setting]) for setting in settings]


def _settings(
    log: FullLog, policy: Policy, play: _Play, *, budget: str, seeds: int, learn_share: float
) -> list[Setting]:
    """Every budget in every order, once the scenario is known to fit the log."""
    try:
        scenario = play.over(log)
        reported = len(log) - learning_requests(len(log), learn_share)
        budgets_usd = _budgets_of(budget, play.limit_usd, scenario, reported=reported)
        settings = settings_of([policy], budgets_usd, seeds=seeds, learn_share=learn_share, scenario=scenario)
        course_of(log, settings[0])
    except ScenarioError as refusal:
        raise typer.BadParameter(str(refusal), param_hint="--scenario") from None
    return settings


def _budgets_of(text: str, limit_usd: float | None, scenario: Scenario, *, reported: int) -> list[float]:
    """The budgets per request: those given, or the one that the limit comes to."""
    if limit_usd is None:
        if not text:
            raise typer.BadParameter("say what may be spent: --budget or --limit-usd", param_hint="--budget")
        return checked_budgets(text)
    if text:
        raise typer.BadParameter("is given, and so is --budget", param_hint="--limit-usd")
    return [limit_usd * scenario.windows / reported]


def _material(path: Path, *, encoder: str, arms: list[str], skip_bad: bool, console: Console) -> Material:
    try:
        log, skipped = read_full_log(path, skip_bad=skip_bad)
        material = prepare(log, encoder_id=encoder, arm_ids=arms)
    except (LogError, UnusableForReplay, UnknownEncoder, KeyError) as error:
        console.print(reason_of(error), style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    left_out = len(log) - len(material.log)
    console.print(f"{log.name}: {len(material.log)} queries × {len(material.log.arm_ids)} arms", highlight=False)
    if left_out or skipped.total:
        console.print(f"left out: {left_out} incomplete rows, {skipped.total} bad ones", highlight=False)
    return material


def _policy(name: str, *, learner: str | None, exploration: str | None, hold_policy: str | None) -> Policy:
    chosen = POLICIES[_one_of(name, list(POLICIES), "--policy")]
    found = replace(
        chosen,
        learner=learner or chosen.learner,
        exploration=exploration or chosen.exploration,
        hold_policy=chosen.hold_policy if hold_policy is None else _one_of(hold_policy, HOLDS, "--hold-policy"),
    )
    return checked_policy(found)


def _one_of(value: str, known: Sequence[str], option: str) -> str:
    if value not in known:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}", param_hint=option)
    return value


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["log"], row["policy"], f"{row['budget_usd']:g}"].append(row)
    table = Table("log", "policy", *(Column(title, no_wrap=True) for title in ("USD", *_MEANS, "seeds")))
    for place, members in groups.items():
        table.add_row(*place, *_means(members), str(len(members)))
    return table


def _parts_table(rows: Sequence[dict[str, Any]], part: str, name: str) -> Table:
    """Phases, windows or tenants, with the shares of the arms."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        for member in row[part]:
            groups[row["log"], f"{row['budget_usd']:g}", str(member[name])].append(member)
    table = Table("log", *(Column(title, no_wrap=True) for title in ("USD", name, *_MEANS)), "arms")
    for place, members in groups.items():
        table.add_row(*place, *_means(members), _shares(members))
    return table


def _means(members: Sequence[dict[str, Any]]) -> tuple[str, str, str, str]:
    """Reward, spend, utilisation and refusals; a part without requests has no means."""
    asked = [member for member in members if member["n"]]
    if not asked:
        return "", "", "", "0"
    reward, spend, used, refused = (
        float(np.mean([member[field] for member in asked]))
        for field in ("reward_mean", "spend_usd_mean", "utilisation", "refusals")
    )
    return f"{reward:.4f}", f"{spend:.4g}", f"{used:.3f}", f"{refused:.1f}"


def _shares(members: Sequence[dict[str, Any]]) -> str:
    """The shares of the arms in use, in percent and in the log's order, by the last part of their names."""
    names = [share["arm_id"] for share in members[0]["arm_shares"]]
    shares = np.mean([[share["share"] for share in member["arm_shares"]] for member in members], axis=0)
    used = [(name.rpartition("/")[2], round(100 * share)) for name, share in zip(names, shares.tolist(), strict=True)]
    return "\n".join(f"{percent}% {name}" for name, percent in used if percent)
