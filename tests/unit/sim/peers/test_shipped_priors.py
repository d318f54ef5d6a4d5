"""A pool that starts with ParetoBandit's priors expects what that package expects, with certainty in proportion."""

from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.prior_codec import decode_prior, encode_prior
from bandit_router_sim.peers.paretobandit import ParetoBandit, intercept_last, shipped_models
from bandit_router_sim.peers.protocol import Offer
from bandit_router_sim.peers.shipped_priors import embeddings_of, shipped_prior
from tests.builders import generator

COUNT = 50
MOST_BIAS = 0.051
"""The package adds .05 to some arms' levels by the sizes that its registry gives them; its priors do not say so."""


def contexts() -> tuple[np.ndarray, np.ndarray]:
    """The same queries as the package reads them (n, 26), intercept first, and as a pool does (n, 27)."""
    features = np.column_stack([np.ones(COUNT), generator(0).normal(size=(COUNT, 25))])
    length = generator(1).normal(size=COUNT)
    return features, np.column_stack([np.ones(COUNT), length, embeddings_of(features)])


def test_means_are_the_packages_up_to_its_bias_by_size_and_certainty_in_proportion() -> None:
    pytest.importorskip("pareto_bandit", reason="paretobandit is not installed; install the extra `peers`")
    arm_ids = tuple(shipped_models())
    peer = ParetoBandit(Offer(arm_ids, np.full(len(arm_ids), 1e-3), 26, 1e-3, seed=0), warm=True)
    prior = shipped_prior(arm_ids)
    features, read = contexts()
    read[:, 1] = 0.0
    theirs = intercept_last(features)
    assert set(prior.arms) == set(arm_ids)
    for arm_id, arm in prior.arms.items():
        matrix, moment = peer._router.bandit.A[arm_id], peer._router.bandit.b[arm_id]
        apart = read @ arm.mean - theirs @ np.linalg.solve(matrix, moment)
        np.testing.assert_allclose(apart, apart.mean(), atol=2e-3)
        assert abs(apart.mean()) <= MOST_BIAS
        variance = np.einsum("nd,nd->n", read @ np.linalg.inv(arm.precision), read)
        its = np.einsum("nd,nd->n", theirs @ np.linalg.inv(matrix), theirs)
        ratio = its / variance
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.02)
        assert ratio.mean() == pytest.approx(arm.precision[0, 0] / matrix[-1, -1], rel=0.02)


def test_nothing_is_said_of_the_prompts_length_or_of_other_arms() -> None:
    pytest.importorskip("pareto_bandit", reason="paretobandit is not installed; install the extra `peers`")
    arm_id = next(iter(shipped_models()))
    prior = decode_prior(encode_prior(shipped_prior((arm_id, "another"))))
    assert list(prior.arms) == [arm_id]
    assert prior.context_length == contexts()[1].shape[1]
    arm = prior.arms[arm_id]
    assert arm.mean[1] == 0.0
    assert np.count_nonzero(arm.precision[1]) == 1
    assert arm.precision[1, 1] < 1e-3 * np.diag(arm.precision)[2:].min()


def test_embeddings_of_white_features_have_a_mean_squared_norm_of_one() -> None:
    features, _ = contexts()
    assert np.square(embeddings_of(features)).sum(axis=1).mean() == pytest.approx(1.0, abs=0.1)
