"""The product with a peer's money: in every phase of an experiment it may spend what the peer has spent in it.

Against every peer plays the default, and the player that starts as the peer does.

A peer that paces badly spends more in one phase than in another, so its reward of a phase is another phase's money.
Here every phase is a window of its own, whose limit is the peer's spend in it; so nothing is saved for a later phase,
and what a window leaves is lost. The learning stretch has the peer's mean spend per request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bandit_router_sim.experiments.phases import OF_THREE_PHASES, PHASES
from bandit_router_sim.experiments.runs import Task, policy_of
from bandit_router_sim.experiments.tables import (
    compared_with,
    difference,
    grouped,
    interval_text,
    rewards_text,
    shares_text,
)
from bandit_router_sim.kept.cache import Finished
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.prior_study.tables import markdown

Pairs = Sequence[tuple[Task, Task]]
"""A peer's task and the product's with its money."""


def tasks_with_the_money_of(found: Mapping[Task, Finished], *, player: str) -> list[tuple[Task, Task]]:
    """For every task that this peer has played in OF_THREE_PHASES, those of the product with its money.

    A run in which the peer had nothing left to spend in some phase has no partner.
    """
    mine = {task: run for task, run in found.items() if task.experiment in OF_THREE_PHASES and task.player == player}
    spent_usd = {task: spent_by_phase(run) for task, run in mine.items()}
    return [
        (task, _with_money(task, usd, len(mine[task].rewards), name))
        for name in compared_with(player)
        for task, usd in spent_usd.items()
        if usd.all()
    ]


def spent_by_phase(run: Finished) -> FloatArray:
    """USD (3,) spent in each phase."""
    costs_usd, phases = run.details["cost_usd"].astype(np.float64), run.details["phase"]
    return np.array([costs_usd[phases == phase].sum() for phase in range(PHASES)])


def _with_money(task: Task, spent_usd: FloatArray, requests: int, name: str) -> Task:
    shares = tuple((spent_usd / spent_usd.sum()).tolist())
    scenario = replace(task.setting.scenario, windows=PHASES, money_by_window=shares)
    budget_usd = float(spent_usd.sum()) / requests
    setting = replace(task.setting, policy=policy_of(name), budget_usd=budget_usd, scenario=scenario)
    return replace(task, player=name, setting=setting)


def equal_money_table(pairs: Pairs, found: Mapping[Task, Finished], *, queries: int) -> str:
    """Reward by phase of both, what the product has spent of the peer's money, and the difference by phase."""
    head = ("experiment", "USD", "with the money of", "its reward", "player", "reward", "used of it", "less the peer")
    return markdown(head, _rows(pairs, found, queries=queries))


def _rows(pairs: Pairs, found: Mapping[Task, Finished], *, queries: int) -> Iterable[Sequence[str]]:
    for name in dict.fromkeys(ours.player for _, ours in pairs):
        partners = {theirs: ours for theirs, ours in pairs if ours.player == name}
        with_its_money = grouped({theirs: found[ours] for theirs, ours in partners.items()})
        for place, theirs in grouped({task: found[task] for task in partners}).items():
            experiment, budget_usd, peer = place
            ours = with_its_money[place]
            used = [spent_by_phase(run) / spent_by_phase(its) for run, its in zip(ours, theirs, strict=True)]
            yield (
                experiment,
                f"{budget_usd:g}",
                peer,
                rewards_text(theirs),
                name,
                rewards_text(ours),
                shares_text(used),
                "; ".join(interval_text(difference(ours, theirs, queries, phase)) for phase in range(PHASES)),
            )
