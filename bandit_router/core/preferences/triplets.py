"""PILOT's first stage: a projection that brings queries together which the same models answer best.

    ψ(q) = Wφ(q) + β        loss = mean max(0, margin + cos(ψ(q), ψ(q⁻)) − cos(ψ(q), ψ(q⁺))) + decay

(Panda et al., arXiv 2508.21141.) q⁺ is another query with the same preferred model; q⁻ is a hard negative: a query
on which that model, though usually preferred, lost, and of some drawn ones the nearest by φ. The decay pulls W
and β towards the projection that is there to begin with: few battles move it little, and it cannot collapse into a
constant, at which all cosines are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bandit_router.core.preferences.battles import BattleTable, BoolArray, IndexArray
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray

MARGIN = 0.2
DECAY = 1e-2
MAX_TRIPLETS = 4_000
MAX_ITERATIONS = 200
NEGATIVE_CANDIDATES = 8
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Triplets:
    """Rows (t,) of queries: the anchor, one with the same preferred model, one on which that model lost."""

    anchor: IndexArray
    positive: IndexArray
    negative: IndexArray

    def __len__(self) -> int:
        return len(self.anchor)


def draw_triplets(
    table: BattleTable, embeddings: FloatArray, random: np.random.Generator, *, count: int = MAX_TRIPLETS
) -> Triplets:
    """Up to `count` triplets about queries of the table; none where no model is preferred to and beaten by others."""
    score = net_wins(table, len(embeddings))
    best = np.asarray(score.argmax(axis=1), dtype=np.int64)
    is_decided = np.asarray(score.max(axis=1) > 0.0)
    lost = np.asarray(score < 0.0)
    rows = np.flatnonzero(is_decided & _has_partner(best, is_decided) & np.asarray(lost.any(axis=0))[best])
    if not len(rows):
        return Triplets(rows, rows, rows)
    anchors = rows[random.integers(len(rows), size=count)]
    positives = np.array([_other(random, np.flatnonzero(is_decided & (best == best[q])), q) for q in anchors])
    negatives = np.array([_nearest(random, np.flatnonzero(lost[:, best[q]]), embeddings, q) for q in anchors])
    return Triplets(anchors, positives, negatives)


def net_wins(table: BattleTable, queries: int) -> FloatArray:
    """Wins minus losses (queries, K) of each model on each query; NaN-free: a model that did not fight has 0."""
    score = np.zeros((queries, len(table.arm_ids)))
    np.add.at(score, (table.prompt, table.first), 2.0 * table.wins - 1.0)
    np.add.at(score, (table.prompt, table.second), 1.0 - 2.0 * table.wins)
    return score


def fit_triplet_projection(
    triplets: Triplets, embeddings: FloatArray, start: Projection, *, version: int = 1
) -> Projection:
    """The learned projection, scaled to a mean squared norm of 1 over `embeddings` (m, dim_in)."""
    matrix = start.matrix.astype(np.float64)
    offset = -start.mean.astype(np.float64) @ matrix
    shape = matrix.shape

    def evaluate(flat: FloatArray) -> tuple[float, FloatArray]:
        weights, shift = flat[: matrix.size].reshape(shape), flat[matrix.size :]
        loss, weight_slope, shift_slope = triplet_loss(weights, shift, triplets, embeddings)
        away = flat - start_at
        slope = np.concatenate([weight_slope.ravel(), shift_slope])
        return loss + 0.5 * DECAY * float(away @ away), slope + DECAY * away

    start_at = np.concatenate([matrix.ravel(), offset])
    flat = start_at
    if len(triplets):
        flat = minimize(evaluate, start_at, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}).x
    return _as_projection(flat[: matrix.size].reshape(shape), flat[matrix.size :], embeddings, version)


def triplet_loss(
    weights: FloatArray, shift: FloatArray, triplets: Triplets, embeddings: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Mean hinge loss, and its gradient by W (dim_in, d) and by β (d,)."""
    projected = embeddings @ weights + shift
    norms = np.maximum(np.linalg.norm(projected, axis=1), _TINY)
    unit = projected / norms[:, None]
    a, p, n = triplets.anchor, triplets.positive, triplets.negative
    near, far = np.sum(unit[a] * unit[p], axis=1), np.sum(unit[a] * unit[n], axis=1)
    hinge = MARGIN + far - near
    active = (hinge > 0.0)[:, None] / len(triplets)
    slope = np.zeros_like(projected)
    for rows, others, cosine, sign in ((a, n, far, 1.0), (n, a, far, 1.0), (a, p, near, -1.0), (p, a, near, -1.0)):
        np.add.at(slope, rows, sign * active * (unit[others] - cosine[:, None] * unit[rows]) / norms[rows, None])
    loss = float(np.mean(np.maximum(hinge, 0.0)))
    return loss, embeddings.T @ slope, slope.sum(axis=0)


def _as_projection(weights: FloatArray, shift: FloatArray, embeddings: FloatArray, version: int) -> Projection:
    """φW + β as (φ − mean)W with mean = −βW⁺, which is exact as long as W has full column rank."""
    square = np.mean(np.sum((embeddings @ weights + shift) ** 2, axis=1))
    scale = 1.0 / np.sqrt(max(float(square), _TINY))
    mean = -shift @ np.linalg.pinv(weights)
    return Projection(matrix=(scale * weights).astype(np.float32), mean=mean.astype(np.float32), version=version)


def _has_partner(best: IndexArray, is_decided: BoolArray) -> BoolArray:
    return np.asarray(np.bincount(best[is_decided], minlength=int(best.max()) + 1)[best] > 1)


def _other(random: np.random.Generator, rows: IndexArray, row: int) -> int:
    others = rows[rows != row]
    return int(others[random.integers(len(others))])


def _nearest(random: np.random.Generator, rows: IndexArray, embeddings: FloatArray, row: int) -> int:
    drawn = rows[random.integers(len(rows), size=min(NEGATIVE_CANDIDATES, len(rows)))]
    return int(drawn[np.argmax(embeddings[drawn] @ embeddings[row])])
