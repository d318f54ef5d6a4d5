from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from bandit_router.core.preferences.battles import BattleTable
from bandit_router.core.preferences.triplets import (
    Triplets,
    draw_triplets,
    fit_triplet_projection,
    net_wins,
    triplet_loss,
)
from bandit_router.core.projection import cosine_projection, identity_projection
from tests.unit.core.preferences.preference_worlds import draw_battles, random_of


def topics(count: int = 60) -> tuple[np.ndarray, BattleTable]:
    """Two topics that differ in one coordinate among much noise; model 0 is preferred on one, model 1 on the other."""
    random = random_of(1)
    embeddings = random.normal(size=(count, 8))
    embeddings[:, 5] = np.where(np.arange(count) % 2, 0.5, -0.5)
    rows = np.arange(count)
    zeros, ones = np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.int64)
    return embeddings, BattleTable(("a", "b"), rows, zeros, ones, (rows % 2).astype(float))


def test_net_wins_are_wins_minus_losses() -> None:
    table = BattleTable(("a", "b"), np.zeros(3, int), np.zeros(3, int), np.ones(3, int), np.array([1.0, 1.0, 0.5]))
    assert net_wins(table, 2).tolist() == [[2.0, -2.0], [0.0, 0.0]]


def test_partners_share_the_preferred_model_and_negatives_saw_it_lose() -> None:
    embeddings, table = topics()
    triplets = draw_triplets(table, embeddings, random_of(2), count=200)
    assert np.all(triplets.anchor % 2 == triplets.positive % 2)
    assert np.all(triplets.anchor % 2 != triplets.negative % 2)
    assert np.all(triplets.anchor != triplets.positive)


def test_battles_that_prefer_nobody_make_no_triplets() -> None:
    embeddings, table = topics()
    ties = BattleTable(table.arm_ids, table.prompt, table.first, table.second, np.full(len(table), 0.5))
    assert len(draw_triplets(ties, embeddings, random_of(3))) == 0
    start = identity_projection(8, 3)
    kept = fit_triplet_projection(draw_triplets(ties, embeddings, random_of(3)), embeddings, start)
    assert np.mean(np.sum(kept.apply(embeddings) ** 2, axis=1)) == pytest.approx(1.0, rel=1e-4)


def test_the_gradients_are_those_of_the_loss() -> None:
    random = random_of(4)
    embeddings, table = topics(20)
    triplets = draw_triplets(table, embeddings, random, count=15)
    weights, shift = random.normal(size=(8, 3)), random.normal(size=3)
    _, by_weights, by_shift = triplet_loss(weights, shift, triplets, embeddings)

    def at(flat: np.ndarray) -> float:
        return triplet_loss(flat[:24].reshape(8, 3), flat[24:], triplets, embeddings)[0]

    numeric = approx_fprime(np.concatenate([weights.ravel(), shift]), at, 1e-7)
    assert np.concatenate([by_weights.ravel(), by_shift]) == pytest.approx(numeric, abs=1e-5)


def test_the_scale_of_a_query_does_not_matter_to_the_loss() -> None:
    random = random_of(5)
    embeddings, table = topics(20)
    triplets = draw_triplets(table, embeddings, random, count=15)
    weights = random.normal(size=(8, 3))
    stretched = embeddings * random.uniform(0.5, 2.0, size=(20, 1))
    losses = [triplet_loss(weights, np.zeros(3), triplets, rows)[0] for rows in (embeddings, stretched)]
    assert losses[0] == pytest.approx(losses[1])


def test_the_learned_projection_tells_unseen_queries_of_the_topics_apart() -> None:
    embeddings, table = topics(200)
    seen = table.rows(table.prompt < 150)
    start = cosine_projection(8, 3)
    triplets = draw_triplets(seen, embeddings, random_of(6), count=1000)
    learned = fit_triplet_projection(triplets, embeddings, start)
    rows = np.arange(150, 200)
    unseen = Triplets(rows[:-2], rows[:-2] + 2, rows[:-2] + 1)

    def loss(projection: object) -> float:
        projected = projection.apply(embeddings).astype(float)  # type: ignore[attr-defined]
        return triplet_loss(np.eye(3), np.zeros(3), unseen, projected)[0]

    assert loss(learned) < 0.8 * loss(start)


def test_the_projection_is_scaled_to_a_mean_squared_norm_of_one() -> None:
    random = random_of(7)
    embeddings = random.normal(size=(80, 6)) + 1.0
    table = draw_battles(random, random.normal(size=(3, 6)), embeddings)
    learned = fit_triplet_projection(
        draw_triplets(table, embeddings, random, count=300), embeddings, identity_projection(6, 4), version=3
    )
    assert learned.version == 3
    assert np.mean(np.sum(learned.apply(embeddings) ** 2, axis=1)) == pytest.approx(1.0, rel=1e-3)
