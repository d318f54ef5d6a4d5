"""Searching the settings of a pool on one split of a full-information log, and reporting on the other.

Every trial is replayed at all budgets and in all orders on the tuning split; its value is the mean quality over them,
in which money left unspent costs quality by itself and money overspent does not occur. The defaults are the first
trial. Then the best trial and the defaults are replayed on the reporting split, which the search has not seen, and
compared request by request. The sampler is seeded (TPE; Bergstra et al., 2011), so the same command finds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.progress import track

from bandit_router.core.resources import DEFAULT_LEARNER
from bandit_router_sim.compare.intervals import Interval, paired_interval
from bandit_router_sim.logs.cost_range import cost_range_usd
from bandit_router_sim.logs.full import BoolArray, FloatArray, FullLog, IndexArray
from bandit_router_sim.ope.plain import as_plain
from bandit_router_sim.replay.setting import Material, Policy, Setting
from bandit_router_sim.replay.sweep import replay_one
from bandit_router_sim.tune.budget import by_query
from bandit_router_sim.tune.search_space import Choice, defaults_of, dimensions, suggested
from bandit_router_sim.tune.spread import run_all

TUNING_SPLITS = ("val", "validation", "tune", "train")
REPORTING_SPLITS = ("test", "holdout")
_LEAST_ROWS = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """How to search: budgets in USD per request, orders, trials, and who is searched."""

    budgets_usd: tuple[float, ...]
    seeds: int = 3
    trials: int = 40
    learner: str = DEFAULT_LEARNER
    exploration: str = "igw"
    learn_share: float = 0.5
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Compared:
    """Tuned against default at one budget, on the reporting split: mean qualities and the paired difference."""

    budget_usd: float
    tuned: float
    default: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found. `overall`: the paired difference of the means over all budgets."""

    log: str
    default: Choice
    tuned: Choice
    tuning_rows: int
    reporting_rows: int
    split: str
    trials: int
    tuning_default: float
    tuning_best: float
    by_budget: tuple[Compared, ...]
    overall: Interval

    @property
    def recommended(self) -> Choice:
        """The tuned settings if they are better beyond their interval, else the defaults."""
        return self.tuned if self.overall.verdict == "better" else self.default

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        plain: dict[str, Any] = as_plain(self)
        verdicts = {"verdict": self.overall.verdict, "recommended": as_plain(self.recommended)}
        return {**plain, **verdicts}


class TooFewRows(ValueError):
    """A split is too small to tune or to report on."""


def splits_of(log: FullLog, *, seed: int) -> tuple[IndexArray, IndexArray, str]:
    """Rows to tune on and rows to report on: the log's own splits, or a seeded half. Raises TooFewRows."""
    names = np.array([split.lower() for split in log.splits])
    tuning, reporting = np.isin(names, TUNING_SPLITS), np.isin(names, REPORTING_SPLITS)
    how = "the log's own splits"
    if not (tuning.any() and reporting.any()):
        shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(len(log))
        tuning = np.isin(np.arange(len(log)), shuffled[: len(log) // 2])
        reporting, how = ~tuning, "a seeded half"
    if min(tuning.sum(), reporting.sum()) < _LEAST_ROWS:
        raise TooFewRows(f"{tuning.sum()} and {reporting.sum()} rows; each split needs {_LEAST_ROWS}")
    return np.flatnonzero(tuning), np.flatnonzero(reporting), how


def search(material: Material, plan: Plan, *, console: Console | None = None) -> Found:
    """Search and report. Raises TooFewRows, NothingToSearch."""
    tuning, reporting, how = splits_of(material.log, seed=plan.seed)
    tuning_material, reporting_material = _part(material, tuning), _part(material, reporting)
    value = partial(_value, tuning_material, plan)
    widest = material.embeddings.shape[1]
    default = Choice(plan.learner, plan.exploration, min(Choice("", "").dimension, max(dimensions(widest))))
    study = _study(plan, value, default, widest=widest, console=console)
    best = study.best_trial
    tuned = _choice_of(best)
    by_budget, overall = compare(reporting_material, plan, tuned, default, console=console)
    return Found(
        log=material.log.name,
        default=default,
        tuned=tuned,
        tuning_rows=len(tuning),
        reporting_rows=len(reporting),
        split=how,
        trials=len(study.trials),
        tuning_default=_known(study.trials[0].value),
        tuning_best=_known(best.value),
        by_budget=by_budget,
        overall=overall,
    )


def compare(
    material: Material, plan: Plan, tuned: Choice, default: Choice, *, console: Console | None = None
) -> tuple[tuple[Compared, ...], Interval]:
    """Both at every budget in the same orders: per budget, and the mean over the budgets."""
    (mine, present), (theirs, _) = (
        rewards_of(material, plan, choice, label=label, console=console)
        for choice, label in ((tuned, "tuned"), (default, "default"))
    )
    cells = present.sum()
    found = [
        Compared(
            budget_usd=budget_usd,
            tuned=float(mine[index].sum() / cells),
            default=float(theirs[index].sum() / cells),
            difference=paired_interval(mine[index] - theirs[index], present),
        )
        for index, budget_usd in enumerate(plan.budgets_usd)
    ]
    return tuple(found), paired_interval((mine - theirs).mean(axis=0), present)


def rewards_of(
    material: Material, plan: Plan, choice: Choice, *, label: str = "", console: Console | None = None
) -> tuple[FloatArray, BoolArray]:
    """Rewards (budgets, orders, queries) of the reported requests, 0 elsewhere, and the cells (orders, queries)."""
    policy = Policy("tried", choice.learner, choice.exploration, dimension=choice.dimension)
    settings = [
        Setting(policy, budget_usd, seed, learn_share=plan.learn_share)
        for budget_usd in plan.budgets_usd
        for seed in range(plan.seeds)
    ]
    results = run_all(partial(replay_one, material), settings, jobs=plan.jobs, label=label, console=console)
    groups = [results[start : start + plan.seeds] for start in range(0, len(results), plan.seeds)]
    rewards, present = zip(*[by_query(group, len(material.log)) for group in groups], strict=True)
    return np.stack(rewards), present[0]


def _value(material: Material, plan: Plan, choice: Choice) -> float:
    rewards, present = rewards_of(material, plan, choice)
    return float(rewards.sum() / present.sum() / len(plan.budgets_usd))


def _study(
    plan: Plan, value: Callable[[Choice], float], default: Choice, *, widest: int, console: Console | None
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=plan.seed))
    first = {**defaults_of(plan.learner, plan.exploration), "dimension": default.dimension}
    study.enqueue_trial(first)

    def objective(trial: optuna.Trial) -> float:
        proposed = suggested(trial, plan.learner, plan.exploration, widest=widest)
        choice = proposed if trial.number else default
        trial.set_user_attr("choice", [choice.learner, choice.exploration, choice.dimension])
        return value(choice)

    _optimise(study, objective, plan.trials, console)
    return study


def _optimise(
    study: optuna.Study, objective: Callable[[optuna.Trial], float], trials: int, console: Console | None
) -> None:
    if console is None:
        study.optimize(objective, n_trials=trials)
        return
    for _ in track(range(trials), description="trials", console=console):
        study.optimize(objective, n_trials=1)


def _choice_of(trial: optuna.trial.FrozenTrial) -> Choice:
    learner, exploration, dimension = trial.user_attrs["choice"]
    return Choice(learner, exploration, dimension)


def _part(material: Material, rows: IndexArray) -> Material:
    return replace(material, log=material.log.rows(rows), embeddings=material.embeddings[rows])


def _known(value: float | None) -> float:
    assert value is not None, "every trial has a value"
    return value


def budgets_between(log: FullLog, count: int) -> Sequence[float]:
    """Budgets strictly between the cheapest and the dearest arm's mean cost, at even ratios."""
    low_usd, high_usd = cost_range_usd(log)
    return [float(budget) for budget in np.geomspace(low_usd, high_usd, count + 2)[1:-1]]
