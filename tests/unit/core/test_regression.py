from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.regression import GaussianPrior, RegressionSums, posterior
from tests.builders import PROPERTY, generator

Array = npt.NDArray[np.float64]
PRIOR = GaussianPrior.ridge(4, level=0.8, bias_precision=2.0, slope_precision=0.5)


def observations(seed: int, count: int, dimension: int = 4) -> tuple[Array, Array]:
    source = generator(seed)
    x = np.column_stack([np.ones(count), source.normal(size=(count, dimension - 1))])
    return x, x @ source.normal(size=dimension) + 0.1 * source.normal(size=count)


def sums_of(x: Array, y: Array) -> RegressionSums:
    sums = RegressionSums.zeros(x.shape[1])
    for row, value in zip(x, y, strict=True):
        sums.add(row, float(value))
    return sums


def assert_same(one: RegressionSums, other: RegressionSums) -> None:
    assert one.gram == pytest.approx(other.gram, abs=1e-9)
    assert one.moment == pytest.approx(other.moment, abs=1e-9)
    assert one.square == pytest.approx(other.square, abs=1e-9)
    assert one.count == other.count


cases = st.tuples(st.integers(0, 10**6), st.integers(0, 40))


@PROPERTY
@given(cases)
def test_the_posterior_mean_is_the_batch_ridge_solution(case: tuple[int, int]) -> None:
    x, y = observations(*case)
    root = np.sqrt(np.diag(PRIOR.precision))
    stacked_x, stacked_y = np.vstack([x, np.diag(root)]), np.append(y, root * PRIOR.mean)
    expected, *_ = np.linalg.lstsq(stacked_x, stacked_y, rcond=None)
    fitted = posterior(PRIOR, sums_of(x, y), noise_guess=0.02, noise_weight=10)
    assert fitted.mean == pytest.approx(expected, abs=1e-9)


@PROPERTY
@given(cases)
def test_the_covariance_inverts_the_precision_and_is_symmetric(case: tuple[int, int]) -> None:
    x, y = observations(*case)
    fitted = posterior(PRIOR, sums_of(x, y), noise_guess=0.02, noise_weight=10)
    assert fitted.covariance @ (PRIOR.precision + x.T @ x) == pytest.approx(np.eye(4), abs=1e-9)
    assert (fitted.covariance == fitted.covariance.T).all()


@PROPERTY
@given(cases)
def test_the_noise_is_the_residual_variance_shrunk_to_the_guess(case: tuple[int, int]) -> None:
    x, y = observations(*case)
    fitted = posterior(PRIOR, sums_of(x, y), noise_guess=0.02, noise_weight=10)
    residual = float(np.square(y - x @ fitted.mean).sum())
    assert fitted.noise == pytest.approx((residual + 0.2) / (len(y) + 10), rel=1e-6)


@PROPERTY
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(case: tuple[int, int], shuffler: object) -> None:
    x, y = observations(*case)
    order = list(range(len(y)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    assert_same(sums_of(x[order], y[order]), sums_of(x, y))


@PROPERTY
@given(cases, st.integers(0, 40))
def test_what_was_removed_had_never_been_added(case: tuple[int, int], removed: int) -> None:
    x, y = observations(*case)
    sums = sums_of(x, y)
    for row, value in zip(x[:removed], y[:removed], strict=True):
        sums.remove(row, float(value))
    assert_same(sums, sums_of(x[removed:], y[removed:]))


def test_without_observations_the_posterior_is_the_prior() -> None:
    fitted = posterior(PRIOR, RegressionSums.zeros(4), noise_guess=0.02, noise_weight=10)
    assert fitted.mean == pytest.approx([0.8, 0, 0, 0])
    assert fitted.covariance == pytest.approx(np.diag([0.5, 2, 2, 2]))
    assert fitted.noise == pytest.approx(0.02)


def test_the_intercept_has_a_precision_of_its_own() -> None:
    prior = GaussianPrior.ridge(3, level=0.5, bias_precision=7, slope_precision=2)
    assert (np.diag(prior.precision) == [7, 2, 2]).all()
    assert (prior.mean == [0.5, 0, 0]).all()


def test_more_observations_never_widen_the_uncertainty() -> None:
    x, y = observations(1, 40)
    sums, at = RegressionSums.zeros(4), generator(2).normal(size=4)
    widths = []
    for row, value in zip(x, y, strict=True):
        sums.add(row, float(value))
        widths.append(at @ posterior(PRIOR, sums, noise_guess=0.02, noise_weight=10).covariance @ at)
    assert (np.diff(widths) <= 1e-12).all()


def test_a_copy_shares_nothing_with_its_original() -> None:
    sums = sums_of(*observations(3, 5))
    before = sums.copy()
    sums.add(np.ones(4), 1.0)
    assert_same(before, sums_of(*observations(3, 5)))
    assert before.count == 5
