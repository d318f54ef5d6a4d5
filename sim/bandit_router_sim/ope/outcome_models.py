"""Models q̂(x, a) of an outcome for every arm, never fitted on the row that they predict.

One ridge regression per arm (`core.regression`, the product's own), on the context with an intercept in front. Costs
may instead be regressed in logarithms, with mean exp(μ + s²/2): per arm, whichever predicts a held-out fold of the
training rows better. Two ways to keep rows out of their own prediction:

  `cross_fitted`   folds by a hash of the row's key (Chernozhukov et al. 2018), for estimates at a fixed time;
  `predictable`    only earlier rows, for confidence sequences, which need each value to follow from the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from bandit_router.core.regression import GaussianPrior, RegressionSums, posterior
from bandit_router_sim.logs.decisions import BoolArray, FloatArray, IndexArray

DEFAULT_FOLDS = 5
_FIRST_BLOCK = 64
_MIN_ROWS_TO_COMPARE = 20
_NOISE_GUESS = 0.02
_NOISE_WEIGHT = 1.0
_MAX_LOG_MEAN = 50.0


@dataclass(frozen=True, slots=True)
class OutcomeKind:
    """What is known of an outcome beforehand: predictions are kept within [`low`, `high`]."""

    name: str
    low: float
    high: float
    may_be_logarithmic: bool = False


REWARD = OutcomeKind(name="reward", low=0.0, high=1.0)
COST = OutcomeKind(name="cost_usd", low=0.0, high=np.inf, may_be_logarithmic=True)


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Rows to learn from: contexts (n, d), actions (n,), outcomes (n,) with NaN where missing, number of arms."""

    contexts: FloatArray
    actions: IndexArray
    outcomes: FloatArray
    arm_count: int

    def __len__(self) -> int:
        return len(self.actions)


def folds_of(keys: Sequence[str], folds: int) -> IndexArray:
    """The fold (n,) of each key, by its hash: the same whatever the order, the subset or the run."""
    digests = (blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.array([int.from_bytes(digest, "little") % folds for digest in digests], dtype=np.int64)


def cross_fitted(data: Observations, kind: OutcomeKind, fold: IndexArray) -> FloatArray:
    """q̂ (n, K): each row predicted by models of the rows in the other folds (n,)."""
    design = _with_intercept(data.contexts)
    predictions = np.empty((len(data), data.arm_count))
    for index in np.unique(fold):
        held_out = fold == index
        predictions[held_out] = _predict(data, design, kind, train=~held_out, at=held_out, fold=fold)
    return predictions


def predictable(data: Observations, kind: OutcomeKind, *, start: float) -> FloatArray:
    """q̂ (n, K): each row predicted by models of rows before it; refitted whenever the number of rows doubles.

    The first 64 rows are predicted by the constant `start`.
    """
    design = _with_intercept(data.contexts)
    predictions = np.full((len(data), data.arm_count), start)
    position = np.arange(len(data))
    first = _FIRST_BLOCK
    while first < len(data):
        block = (position >= first) & (position < 2 * first)
        fold = position % DEFAULT_FOLDS
        predictions[block] = _predict(data, design, kind, train=position < first, at=block, fold=fold)
        first *= 2
    return predictions


def _predict(
    data: Observations, design: FloatArray, kind: OutcomeKind, *, train: BoolArray, at: BoolArray, fold: IndexArray
) -> FloatArray:
    observed = train & np.isfinite(data.outcomes)
    level = float(data.outcomes[observed].mean()) if observed.any() else kind.low
    columns = np.empty((int(at.sum()), data.arm_count))
    for arm in range(data.arm_count):
        rows = np.flatnonzero(observed & (data.actions == arm))
        model = _fit_better(design[rows], data.outcomes[rows], fold[rows], kind, level)
        columns[:, arm] = model.predict(design[at])
    return np.clip(columns, kind.low, kind.high)


@dataclass(frozen=True, slots=True, eq=False)
class _Ridge:
    coefficients: FloatArray
    noise: float
    is_logarithmic: bool

    def predict(self, design: FloatArray) -> FloatArray:
        linear: FloatArray = design @ self.coefficients
        if not self.is_logarithmic:
            return linear
        return np.exp(np.minimum(linear + 0.5 * self.noise, _MAX_LOG_MEAN))


def _fit_better(design: FloatArray, outcomes: FloatArray, fold: IndexArray, kind: OutcomeKind, level: float) -> _Ridge:
    is_logarithmic = kind.may_be_logarithmic and _logarithm_is_better(design, outcomes, fold, level)
    return _fit(design, outcomes, level, is_logarithmic=is_logarithmic)


def _logarithm_is_better(design: FloatArray, outcomes: FloatArray, fold: IndexArray, level: float) -> bool:
    """Whether it predicts one fold of these rows better, in squared error, after learning from the others."""
    if len(outcomes) < _MIN_ROWS_TO_COMPARE or outcomes.min() <= 0.0:
        return False
    check = fold == fold[0]
    if check.all():
        return False
    errors = [
        np.square(
            outcomes[check] - _fit(design[~check], outcomes[~check], level, is_logarithmic=form).predict(design[check])
        ).mean()
        for form in (False, True)
    ]
    return bool(errors[1] < errors[0])


def _fit(design: FloatArray, outcomes: FloatArray, level: float, *, is_logarithmic: bool) -> _Ridge:
    """Ridge around the arm's own mean; without rows, the constant `level`."""
    values = np.log(outcomes) if is_logarithmic else outcomes
    centre = float(values.mean()) if len(values) else level
    prior = GaussianPrior.ridge(design.shape[1], level=centre, bias_precision=1.0, slope_precision=1.0)
    sums = RegressionSums(design.T @ design, design.T @ values, float(values @ values), len(values))
    solution = posterior(prior, sums, noise_guess=_NOISE_GUESS, noise_weight=_NOISE_WEIGHT)
    return _Ridge(solution.mean, solution.noise, is_logarithmic)


def _with_intercept(contexts: FloatArray) -> FloatArray:
    return np.column_stack([np.ones(len(contexts)), contexts])
