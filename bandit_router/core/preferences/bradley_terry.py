"""Contextual Bradley-Terry: how likely one arm's answer is preferred to another's, by the query.

    P(i ≻ j | x) = σ((β_i − β_j)·x)        β_a ~ N(0, Λ⁻¹),  Λ = diag(bias, ridge, …, ridge)

The negative log posterior is convex and its Hessian H is a Laplacian of d x d blocks, one per pair that has fought, so
Newton's method gets there in a few steps; N(β̂, H⁻¹) is then the Laplace approximation (MacKay, Information Theory,
Inference, and Learning Algorithms, ch. 27). Only differences are told by battles: what all arms have in common stays
at zero with the prior's uncertainty, until absolute labels say more (`anchoring`). In H battles count by how much they
can say (`repetition`); the mode takes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bandit_router.core.preferences.battles import BattleTable, IndexArray, log_loss
from bandit_router.core.regression import FloatArray

BIAS_PRECISION = 0.1
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
FOLDS = 5
MAX_STEPS = 50
MAX_HALVINGS = 30
TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Utilities:
    """β̂ (K, d) in logits, and the Laplace covariance of all of it, (K·d, K·d), arm after arm."""

    arm_ids: tuple[str, ...]
    mean: FloatArray
    covariance: FloatArray

    def contrast_covariance(self, arm: int) -> FloatArray:
        """Covariance (d, d) of β_a − mean β: of how the arm at that position differs from all.

        What all have in common is left out; of that battles say nothing. (The mode of mean β is 0.)
        """
        arms, size = self.mean.shape
        blocks = self.covariance.reshape(arms, size, arms, size)
        cross = blocks[arm].mean(axis=1)
        return np.asarray(blocks[arm, :, arm, :] - cross - cross.T + blocks.mean(axis=(0, 2)))

    def probabilities(self, table: BattleTable, contexts: FloatArray) -> FloatArray:
        """P(first ≻ second) (n,) of battles about contexts (m, d)."""
        return _sigmoid(_margins(self.mean, table, contexts))


def fit_utilities(table: BattleTable, contexts: FloatArray, *, ridge: float, bias: float = BIAS_PRECISION) -> Utilities:
    """The posterior mode and its Laplace covariance. `contexts` (m, d), coordinate 0 the intercept."""
    arms, size = len(table.arm_ids), contexts.shape[1]
    prior = np.full(size, ridge)
    prior[0] = bias
    weights = np.tile(prior, arms)
    beta = np.zeros((arms, size))
    loss = objective(beta, table, contexts, prior)
    for _ in range(MAX_STEPS):
        slope = gradient(beta, table, contexts, prior)
        newton = np.linalg.solve(curvature(beta, table, contexts) + np.diag(weights), slope.ravel())
        step = np.asarray(newton, dtype=np.float64).reshape(arms, size)
        if float(np.sum(slope * step)) < TOLERANCE:
            break
        beta, loss = _descend(beta, step, loss, table, contexts, prior)
    covariance = np.linalg.inv(curvature(beta, table, contexts) / repetition(table) + np.diag(weights))
    return Utilities(table.arm_ids, beta, 0.5 * (covariance + covariance.T))


def repetition(table: BattleTable) -> float:
    """How many battles say what one would (at least 1): those about one prompt are not independent of each other.

    However often n arms fight about it, their answers differ in n − 1 ways; so a prompt's battles count for at most
    as many.
    """
    if not len(table):
        return 1.0
    arms = np.unique(np.column_stack([np.tile(table.prompt, 2), np.concatenate([table.first, table.second])]), axis=0)
    battles = np.unique(table.prompt, return_counts=True)[1]
    told = np.minimum(battles, np.unique(arms[:, 0], return_counts=True)[1] - 1)
    return float(battles.sum() / told.sum())


def choose_ridge(table: BattleTable, contexts: FloatArray, *, bias: float = BIAS_PRECISION) -> float:
    """The ridge of RIDGES that foretells battles about unseen prompts best, in cross-validation by prompt."""
    fold = table.prompt % FOLDS
    losses = []
    for ridge in RIDGES:
        held_out = [
            _held_out_loss(table.rows(fold != k), table.rows(fold == k), contexts, ridge=ridge, bias=bias)
            for k in np.unique(fold)
        ]
        losses.append(float(np.mean(held_out)))
    return RIDGES[int(np.argmin(losses))]


def objective(beta: FloatArray, table: BattleTable, contexts: FloatArray, prior: FloatArray) -> float:
    """Negative log posterior at β (K, d), up to a constant; `prior` (d,): precisions."""
    margins = _margins(beta, table, contexts)
    return float(np.sum(np.logaddexp(0.0, margins) - table.wins * margins) + 0.5 * np.sum(prior * beta**2))


def gradient(beta: FloatArray, table: BattleTable, contexts: FloatArray, prior: FloatArray) -> FloatArray:
    """∂ objective / ∂β (K, d)."""
    pull = (_sigmoid(_margins(beta, table, contexts)) - table.wins)[:, None] * contexts[table.prompt]
    slope = prior * beta
    np.add.at(slope, table.first, pull)
    np.add.at(slope, table.second, -pull)
    return np.asarray(slope)


def curvature(beta: FloatArray, table: BattleTable, contexts: FloatArray) -> FloatArray:
    """Hessian (K·d, K·d) of the battles' part of the objective."""
    arms, size = beta.shape
    probability = _sigmoid(_margins(beta, table, contexts))
    weight = probability * (1.0 - probability)
    hessian = np.zeros((arms, size, arms, size))
    for i, j, rows in _pairs(table):
        x = contexts[table.prompt[rows]]
        block = (x * weight[rows, None]).T @ x
        hessian[i, :, i, :] += block
        hessian[j, :, j, :] += block
        hessian[i, :, j, :] -= block
        hessian[j, :, i, :] -= block
    return hessian.reshape(arms * size, arms * size)


def _descend(
    beta: FloatArray, step: FloatArray, loss: float, table: BattleTable, contexts: FloatArray, prior: FloatArray
) -> tuple[FloatArray, float]:
    """Newton's step, halved until the loss no longer grows."""
    for _ in range(MAX_HALVINGS):
        new = beta - step
        new_loss = objective(new, table, contexts, prior)
        if new_loss <= loss:
            return new, new_loss
        step = 0.5 * step
    return beta, loss


def _held_out_loss(seen: BattleTable, unseen: BattleTable, contexts: FloatArray, *, ridge: float, bias: float) -> float:
    fitted = fit_utilities(seen, contexts, ridge=ridge, bias=bias)
    return log_loss(unseen.wins, fitted.probabilities(unseen, contexts))


def _pairs(table: BattleTable) -> Iterator[tuple[int, int, IndexArray]]:
    """Pairs of arms that have fought, with the rows of their battles in either order."""
    arms = len(table.arm_ids)
    low, high = np.minimum(table.first, table.second), np.maximum(table.first, table.second)
    code = low * arms + high
    order = np.argsort(code, kind="stable").astype(np.int64)
    for rows in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        if len(rows):
            yield int(low[rows[0]]), int(high[rows[0]]), rows


def _margins(beta: FloatArray, table: BattleTable, contexts: FloatArray) -> FloatArray:
    utility = contexts @ beta.T
    return np.asarray(utility[table.prompt, table.first] - utility[table.prompt, table.second])


def _sigmoid(values: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))
