"""The product with a peer's money: in every phase of an experiment it may spend what the peer has spent in it.

A peer that paces badly spends more in one phase than in another, so its reward of a phase is another phase's money.
Here every phase is a window of its own, whose limit is the peer's spend in it; so nothing is saved for a later phase,
and what a window leaves is lost. The learning stretch has the peer's mean spend per request. Windows begin one request
after phases where the stretch does not divide by three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bandit_router_sim.experiments.runs import Task
from bandit_router_sim.experiments.tables import (
    BASELINE,
    difference,
    grouped,
    interval_text,
    rewards_text,
    shares_text,
)
from bandit_router_sim.kept.cache import Finished
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.prior_study.tables import markdown
from bandit_router_sim.replay.setting import POLICIES

EXPERIMENTS = ("price_cut", "quality_drop")
"""Those of three phases of equal length."""

PHASES = 3
Pairs = Mapping[Task, Task]
"""By a peer's task the product's."""


def tasks_with_the_money_of(found: Mapping[Task, Finished], *, player: str) -> dict[Task, Task]:
    """For every task that this peer has played in EXPERIMENTS, the default's with its money.

    A run in which the peer had nothing left to spend in some phase has no partner.
    """
    mine = {task: run for task, run in found.items() if task.experiment in EXPERIMENTS and task.player == player}
    spent_usd = {task: spent_by_phase(run) for task, run in mine.items()}
    return {task: _with_money(task, usd, len(mine[task].rewards)) for task, usd in spent_usd.items() if usd.all()}


def spent_by_phase(run: Finished) -> FloatArray:
    """USD (3,) spent in each phase."""
    costs_usd, phases = run.details["cost_usd"].astype(np.float64), run.details["phase"]
    return np.array([costs_usd[phases == phase].sum() for phase in range(PHASES)])


def _with_money(task: Task, spent_usd: FloatArray, requests: int) -> Task:
    shares = tuple((spent_usd / spent_usd.sum()).tolist())
    scenario = replace(task.setting.scenario, windows=PHASES, money_by_window=shares)
    budget_usd = float(spent_usd.sum()) / requests
    setting = replace(task.setting, policy=POLICIES[BASELINE], budget_usd=budget_usd, scenario=scenario)
    return replace(task, player=BASELINE, setting=setting)


def equal_money_table(pairs: Pairs, found: Mapping[Task, Finished], *, queries: int) -> str:
    """Reward by phase of both, what the product has spent of the peer's money, and the difference by phase."""
    head = ("experiment", "USD", "with the money of", "its reward", "default", "used of its money", "default less peer")
    return markdown(head, _rows(pairs, found, queries=queries))


def _rows(pairs: Pairs, found: Mapping[Task, Finished], *, queries: int) -> Iterable[Sequence[str]]:
    with_its_money = grouped({task: found[pair] for task, pair in pairs.items()})
    for place, theirs in grouped({task: found[task] for task in pairs}).items():
        experiment, budget_usd, player = place
        ours = with_its_money[place]
        yield (
            experiment,
            f"{budget_usd:g}",
            player,
            rewards_text(theirs),
            rewards_text(ours),
            shares_text([spent_by_phase(run) / spent_by_phase(its) for run, its in zip(ours, theirs, strict=True)]),
            "; ".join(interval_text(difference(ours, theirs, queries, phase)) for phase in range(PHASES)),
        )
