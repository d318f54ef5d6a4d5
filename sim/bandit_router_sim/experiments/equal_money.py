"""The product with a peer's money: in every phase of an experiment it may spend what the peer has spent in it.

A peer that paces badly spends more in one phase than in another, so its reward of a phase is another phase's money.
Here every phase is a window of its own, whose limit is the peer's spend in it; so nothing is saved for a later phase,
and what a window leaves is lost. The learning stretch has the peer's mean spend per request. Windows begin one request
after phases where the stretch does not divide by three.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bandit_router_sim.compare.intervals import paired_interval
from bandit_router_sim.experiments.runs import PLAYERS, Task, rewards_by_query
from bandit_router_sim.experiments.tables import BASELINE, interval_text
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
    for (experiment, budget_usd, player), theirs, ours in _places(pairs, found):
        apart = [
            rewards_by_query(ours, queries, phase=phase) - rewards_by_query(theirs, queries, phase=phase)
            for phase in range(PHASES)
        ]
        yield (
            experiment,
            f"{budget_usd:g}",
            player,
            _rewards_by_phase(theirs),
            _rewards_by_phase(ours),
            _used(ours, theirs),
            "; ".join(interval_text(paired_interval(grid, np.isfinite(grid))) for grid in apart),
        )


def _places(
    pairs: Pairs, found: Mapping[Task, Finished]
) -> Iterator[tuple[tuple[str, float, str], list[Finished], list[Finished]]]:
    """By experiment, budget and peer: its runs and the product's, in the order of their seeds."""
    order = {name: index for index, name in enumerate((*EXPERIMENTS, *PLAYERS))}
    tasks = sorted(pairs, key=lambda t: (order[t.experiment], t.setting.budget_usd, order[t.player], t.setting.seed))
    places = dict.fromkeys((task.experiment, task.setting.budget_usd, task.player) for task in tasks)
    for place in places:
        members = [task for task in tasks if (task.experiment, task.setting.budget_usd, task.player) == place]
        yield place, [found[task] for task in members], [found[pairs[task]] for task in members]


def _rewards_by_phase(runs: Sequence[Finished]) -> str:
    means = np.mean([[part["reward_mean"] for part in run.row["phases"]] for run in runs], axis=0)
    return " ".join(f"{value:.4f}" for value in means.tolist())


def _used(ours: Sequence[Finished], theirs: Sequence[Finished]) -> str:
    shares = [spent_by_phase(run) / spent_by_phase(its) for run, its in zip(ours, theirs, strict=True)]
    return " ".join(f"{value:.2f}" for value in np.mean(shares, axis=0).tolist())
