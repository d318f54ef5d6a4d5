"""What a search may change: parameters of the learners and explorations that pools can name, and their ranges.

A family or parameter that the product does not know is skipped, so the table may be ahead of a build or behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import optuna

from bandit_router.core.context import MAX_CONTEXT_DIMENSION, context_dimension
from bandit_router.core.explorations.registry import EXPLORATIONS
from bandit_router.core.learners.registry import LEARNERS
from bandit_router.core.resources import DEFAULT_DIMENSION

DIMENSIONS = (8, 16, 32, 48)


@dataclass(frozen=True, slots=True)
class Range:
    """Values from `low` to `high`; searched in ratios unless `is_linear`; whole numbers if `is_whole`."""

    low: float
    high: float
    is_linear: bool = False
    is_whole: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """A value, rounded to three digits: nobody wants more in a configuration."""
        if self.is_whole:
            return float(trial.suggest_int(name, int(self.low), int(self.high), log=not self.is_linear))
        return float(f"{trial.suggest_float(name, self.low, self.high, log=not self.is_linear):.3g}")

    def nearest(self, value: float) -> float:
        """The value, moved into the range."""
        return min(max(value, self.low), self.high)


_ALPHA = Range(0.01, 1.0)
_SHARE = Range(0.001, 0.2)
_RIDGE = {
    "level": Range(0.5, 1.0, is_linear=True),
    "bias": Range(0.1, 10.0),
    "ridge": Range(0.1, 10.0),
}
LEARNER_RANGES: Mapping[str, Mapping[str, Range]] = {
    "hierarchical": {
        "alpha": Range(0.1, 5.0),
        "deviation": Range(0.1, 10.0),
        "bias": Range(0.1, 10.0),
        "level": Range(0.3, 1.0, is_linear=True),
        "common": Range(0.03, 3.0),
        "shift": Range(2.0, 10.0),
    },
    "linucb": {"alpha": _ALPHA, **_RIDGE},
    "dlinucb": {"alpha": _ALPHA, "gamma": Range(0.98, 1.0, is_linear=True), **_RIDGE},
    "pilot": {"alpha": _ALPHA, "strength": Range(0.01, 100.0), **_RIDGE},
    "lints": {"v": Range(0.1, 10.0), **_RIDGE},
    "epsilon_greedy": {"epsilon": _SHARE, **_RIDGE},
    "epoch_greedy": {"exploit": Range(0.1, 10.0), **_RIDGE},
    "knn": {"k": Range(5.0, 80.0, is_whole=True), "alpha": _ALPHA, "weight": Range(0.1, 10.0)},
}
EXPLORATION_RANGES: Mapping[str, Mapping[str, Range]] = {
    "igw": {"tau": Range(50.0, 50_000.0)},
    "softmax": {"temperature": Range(5e-4, 0.1)},
    "epsilon_floor": {"epsilon": _SHARE},
    "ts_empirical": {"floor": _SHARE},
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Settings of a pool as a configuration writes them."""

    learner: str
    exploration: str
    dimension: int = DEFAULT_DIMENSION


class NothingToSearch(ValueError):
    """A family that the product does not know, or of which no parameter has a range."""


def defaults_of(learner: str, exploration: str) -> dict[str, float]:
    """The default of every parameter that is searched, as trials name them, moved into its range."""
    families = (
        ("learner", LEARNERS, LEARNER_RANGES, learner),
        ("exploration", EXPLORATIONS, EXPLORATION_RANGES, exploration),
    )
    return {
        f"{kind}.{name}": each.nearest(_defaults(known[family])[name])
        for kind, known, table, family in families
        for name, each in _ranges(known, table, family).items()
    }


def suggested(trial: optuna.Trial, learner: str, exploration: str, *, widest: int) -> Choice:
    """The settings that a trial proposes; `widest` is the length of the embeddings."""
    of_learner = _ranges(LEARNERS, LEARNER_RANGES, learner)
    of_exploration = _ranges(EXPLORATIONS, EXPLORATION_RANGES, exploration)
    return Choice(
        learner=_spec(learner, {name: each.suggest(trial, f"learner.{name}") for name, each in of_learner.items()}),
        exploration=_spec(
            exploration, {name: each.suggest(trial, f"exploration.{name}") for name, each in of_exploration.items()}
        ),
        dimension=int(trial.suggest_categorical("dimension", dimensions(widest))),
    )


def dimensions(widest: int) -> list[int]:
    """Dimensions that embeddings of length `widest` and the service allow; the default is among them if it can be."""
    most = min(widest, MAX_CONTEXT_DIMENSION - context_dimension(0, 0))
    return [dimension for dimension in DIMENSIONS if dimension <= most] or [most]


def _ranges(known: Mapping[str, object], table: Mapping[str, Mapping[str, Range]], family: str) -> Mapping[str, Range]:
    """Parameters that both the product and the table know."""
    if family not in known:
        raise NothingToSearch(f"{family!r} is not one of {', '.join(sorted(known))}")
    defaults = _defaults(known[family])
    return {name: each for name, each in table.get(family, {}).items() if name in defaults}


def _defaults(family: object) -> Mapping[str, float]:
    defaults: Mapping[str, float] = getattr(family, "defaults")  # noqa: B009 - learners and explorations both have it
    return defaults


def _spec(family: str, parameters: Mapping[str, float]) -> str:
    return family + ":" * bool(parameters) + ",".join(f"{name}={value:g}" for name, value in parameters.items())
