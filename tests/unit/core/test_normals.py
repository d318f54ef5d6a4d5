from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.explorations.normals import BATCH_SAMPLES, batch_normals, keyed_normals


def test_draws_are_standard_normal() -> None:
    draws = keyed_normals(1, "request", arms=5)(4_000)
    assert draws.shape == (4_000, 5)
    assert draws.mean(axis=0) == pytest.approx(np.zeros(5), abs=0.06)
    assert np.cov(draws.T) == pytest.approx(np.eye(5), abs=0.08)
    assert np.mean(np.square(draws) ** 2) == pytest.approx(3.0, abs=0.2)


def test_the_same_names_give_the_same_draws_and_others_give_others() -> None:
    first = keyed_normals(1, "request", arms=3)(8)
    assert (keyed_normals(1, "request", arms=3)(8) == first).all()
    for other in (keyed_normals(2, "request", arms=3)(8), keyed_normals(1, "another", arms=3)(8)):
        assert not np.isclose(other, first).any()


def test_a_batch_has_draws_of_its_own_for_every_query() -> None:
    draws = batch_normals(6, 4)(1)
    assert draws.shape == (6, BATCH_SAMPLES, 4)
    assert len(np.unique(draws)) == draws.size
    assert (batch_normals(6, 4)(99) == draws).all()
    with pytest.raises(ValueError, match="read-only"):
        draws[0] = 0.0
