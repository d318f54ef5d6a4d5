from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bandit_router.core.projection import (
    MAX_ABS_VALUE,
    InvalidEmbedding,
    Projection,
    cosine_projection,
    fit_projection,
    identity_projection,
)

Rows = npt.NDArray[np.float64]


def _samples(count: int = 400, dim_in: int = 12, seed: int = 3) -> Rows:
    """Correlated rows off the origin, with variances that fall from axis to axis of a hidden basis."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    basis = np.linalg.qr(generator.normal(size=(dim_in, dim_in)))[0]
    return generator.normal(size=(count, dim_in)) * 0.7 ** np.arange(dim_in) @ basis.T + 0.3


dimensions = st.integers(1, 40).flatmap(lambda dim_in: st.tuples(st.just(dim_in), st.integers(1, dim_in)))


@given(dimensions)
def test_default_projections_have_orthogonal_columns_of_one_length(shape: tuple[int, int]) -> None:
    for projection in (identity_projection(*shape), cosine_projection(*shape)):
        gram = projection.matrix.T @ projection.matrix
        assert np.allclose(gram, gram[0, 0] * np.eye(shape[1]), atol=1e-4)
        assert (projection.dim_in, projection.dim_out, projection.version) == (*shape, 0)


def test_identity_projection_keeps_the_leading_coordinates() -> None:
    rows = _samples(5)
    assert np.allclose(identity_projection(12, 4).apply(rows), rows[:, :4].astype(np.float32))


def test_cosine_projection_keeps_the_mean_squared_norm_of_unit_rows_at_one() -> None:
    rows = np.random.Generator(np.random.Philox(key=5)).normal(size=(2000, 384))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.mean((cosine_projection(384, 32).apply(rows) ** 2).sum(axis=1)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("dimension", [1, 5, 12])
def test_fitted_contexts_are_centred_uncorrelated_and_of_mean_squared_norm_one(dimension: int, whiten: bool) -> None:
    rows = _samples()
    contexts = fit_projection(rows, dimension, whiten=whiten).apply(rows).astype(np.float64)
    covariance = contexts.T @ contexts / len(contexts)
    assert np.allclose(contexts.mean(axis=0), 0, atol=1e-5)
    assert np.trace(covariance) == pytest.approx(1.0, abs=1e-4)
    expected = np.full(dimension, 1 / dimension) if whiten else np.diag(covariance)
    assert np.allclose(covariance, np.diag(expected), atol=1e-4)


def test_fitted_components_come_in_order_of_variance() -> None:
    rows = _samples()
    variance = fit_projection(rows, 12).apply(rows).var(axis=0)
    assert (np.diff(variance) <= 1e-7).all()


def test_a_fit_at_full_dimension_keeps_distances_up_to_one_factor() -> None:
    rows = _samples(40)
    contexts = fit_projection(rows, 12).apply(rows)
    ratios = np.linalg.norm(contexts[1:] - contexts[0], axis=1) / np.linalg.norm(rows[1:] - rows[0], axis=1)
    assert np.allclose(ratios, ratios[0], rtol=1e-4)


def test_a_fit_does_not_depend_on_the_order_of_samples() -> None:
    rows = _samples()
    assert np.allclose(fit_projection(rows, 6).matrix, fit_projection(rows[::-1], 6).matrix, atol=1e-5)


def test_components_beyond_the_rank_of_the_samples_are_zero() -> None:
    matrix = fit_projection(_samples(3), 5).matrix
    assert matrix[:, :2].any(axis=0).all()
    assert not matrix[:, 2:].any()


@pytest.mark.parametrize("whiten", [False, True])
def test_samples_all_alike_project_to_zero(whiten: bool) -> None:
    rows = np.ones((10, 4))
    assert not fit_projection(rows, 2, whiten=whiten).apply(rows + 1).any()


def test_an_unknown_text_stays_unknown() -> None:
    projection = fit_projection(_samples(), 4)
    contexts = projection.apply(np.vstack([np.zeros(12), _samples(1)]))
    assert not contexts[0].any()
    assert contexts[1].any()


def test_rows_of_zeros_do_not_move_a_fit() -> None:
    rows = _samples()
    with_zeros = fit_projection(np.vstack([rows, np.zeros((50, 12))]), 4)
    assert np.array_equal(with_zeros.matrix, fit_projection(rows, 4).matrix)


@given(hnp.arrays(np.float32, (3, 6), elements=st.floats(-1e6, 1e6, width=32)))
def test_contexts_of_any_accepted_embedding_are_finite(rows: npt.NDArray[np.float32]) -> None:
    for projection in (identity_projection(6, 3), cosine_projection(6, 3), fit_projection(_samples(dim_in=6), 3)):
        contexts = projection.apply(rows)
        assert contexts.shape == (3, 3)
        assert contexts.dtype == np.float32
        assert np.isfinite(contexts).all()


def test_no_rows_give_no_contexts() -> None:
    assert identity_projection(6, 3).apply(np.empty((0, 6))).shape == (0, 3)


@pytest.mark.parametrize(
    "rows",
    [[1.0, 2.0], [[1.0]], [[1.0, float("nan")]], [[float("-inf"), 0.0]], [[0.0, 2 * MAX_ABS_VALUE]], [["x", "y"]]],
)
def test_other_embeddings_are_refused(rows: list[object]) -> None:
    with pytest.raises(InvalidEmbedding, match="embedding: "):
        identity_projection(2, 1).apply(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0, 0), (4, 0), (4, 5), (8193, 2)])
def test_impossible_dimensions_are_refused(shape: tuple[int, int]) -> None:
    for make in (identity_projection, cosine_projection):
        with pytest.raises(ValueError, match="dimension must be in"):
            make(*shape)


@pytest.mark.parametrize("samples", [np.zeros((5, 3)), np.ones((1, 3))])
def test_a_fit_needs_two_known_samples(samples: Rows) -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        fit_projection(samples, 2)


def test_a_fit_refuses_samples_that_are_not_rows() -> None:
    with pytest.raises(InvalidEmbedding, match="samples: "):
        fit_projection(np.ones(3), 2)


def test_a_projection_is_checked_copied_and_read_only() -> None:
    matrix, mean = np.eye(3, 2, dtype=np.float32), np.zeros(3, dtype=np.float32)
    projection = Projection(matrix=matrix, mean=mean, version=4)
    matrix[:] = 9
    assert projection.matrix.max() == 1
    assert not projection.matrix.flags.writeable
    with pytest.raises(ValueError, match="mean must have shape"):
        Projection(matrix=matrix, mean=mean[:2], version=0)
    with pytest.raises(ValueError, match="two axes"):
        Projection(matrix=mean, mean=mean, version=0)
    with pytest.raises(ValueError, match="finite"):
        Projection(matrix=matrix * np.nan, mean=mean, version=0)
    with pytest.raises(ValueError, match="version"):
        Projection(matrix=matrix, mean=mean, version=-1)
