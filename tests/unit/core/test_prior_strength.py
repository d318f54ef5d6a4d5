from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_t

from bandit_router.core.prior import ArmPrior
from bandit_router.core.prior_strength import STRENGTHS, believed, log_evidence, strengths
from bandit_router.core.regression import GaussianPrior, RegressionSums, posterior

SIZE = 4
RIDGE = GaussianPrior.ridge(SIZE, level=0.8, bias_precision=1.0, slope_precision=1.0)
THETA = np.array([0.6, 0.2, -0.1, 0.05])
NOISE = {"noise_guess": 0.02, "noise_weight": 10.0}


def random_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def rewards(seed: int, count: int, theta: np.ndarray = THETA) -> tuple[np.ndarray, np.ndarray]:
    random = random_of(seed)
    x = np.column_stack([np.ones(count), random.normal(scale=0.5, size=(count, SIZE - 1))])
    return x, x @ theta + random.normal(scale=0.14, size=count)


def sums_of(x: np.ndarray, y: np.ndarray) -> RegressionSums:
    sums = RegressionSums.zeros(SIZE)
    for row, value in zip(x, y, strict=True):
        sums.add(row, float(value))
    return sums


def prior_at(mean: np.ndarray, observations: float = 400.0) -> ArmPrior:
    return ArmPrior(mean, observations * np.diag([1.0, 0.25, 0.25, 0.25]))


def strength(prior: ArmPrior, sums: RegressionSums) -> float:
    return strengths({"a": prior}, {"a": sums}, RIDGE, **NOISE)["a"]


def test_a_good_prior_is_trusted_more_with_every_reward() -> None:
    found = [strength(prior_at(THETA), sums_of(*rewards(1, count))) for count in (0, 10, 100)]
    assert found[0] == pytest.approx(STRENGTHS.mean())
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.3


def test_an_adversarial_prior_is_dropped_within_a_few_rewards() -> None:
    wrong = prior_at(np.array([0.9, -0.3, 0.3, -0.2]))
    found = [strength(wrong, sums_of(*rewards(2, count))) for count in (0, 30, 200)]
    assert found[1] < 0.05 * found[0]
    assert found[2] < 0.01 * found[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_dropped_prior_leaves_the_estimate_that_would_have_been_without_it(seed: int) -> None:
    wrong, sums = prior_at(1.5 - THETA), sums_of(*rewards(seed, 300))
    without = posterior(RIDGE, sums, **NOISE)
    with_it = posterior(believed(wrong, strength(wrong, sums), RIDGE), sums, **NOISE)
    assert with_it.mean == pytest.approx(without.mean, abs=0.03)


def test_strengths_grow_with_how_right_the_prior_is() -> None:
    sums = sums_of(*rewards(3, 60))
    found = [strength(prior_at(THETA + shift), sums) for shift in (0.0, 0.05, 0.1, 0.3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 10 * found[-1]


def test_the_evidence_is_the_probability_of_the_rewards() -> None:
    x, y = rewards(4, 12)
    prior = prior_at(THETA, 50.0)
    evidence = log_evidence(prior, sums_of(x, y), RIDGE, **NOISE)
    exact = []
    for value in STRENGTHS:
        mixed = believed(prior, float(value), RIDGE)
        shape = 0.02 * (np.eye(12) + x @ np.linalg.solve(mixed.precision, x.T))
        exact.append(multivariate_t(loc=x @ mixed.mean, shape=shape, df=10).logpdf(y))
    assert evidence - evidence[0] == pytest.approx(np.array(exact) - exact[0], abs=1e-6)


def test_neither_order_nor_a_reward_taken_back_makes_a_difference() -> None:
    x, y = rewards(5, 40)
    prior = prior_at(THETA + 0.02)
    turned = sums_of(x[::-1], y[::-1])
    turned.add(x[0], 0.0)
    turned.remove(x[0], 0.0)
    assert strength(prior, turned) == pytest.approx(strength(prior, sums_of(x, y)), rel=1e-6)


def test_nothing_of_a_prior_without_strength_is_left() -> None:
    mixed = believed(prior_at(THETA), 0.0, RIDGE)
    assert mixed.mean == pytest.approx(RIDGE.mean)
    assert mixed.precision == pytest.approx(RIDGE.precision)


def test_arms_vouch_for_each_other_but_not_against_their_own_rewards() -> None:
    good = sums_of(*rewards(6, 200))
    priors = {"a": prior_at(THETA), "b": prior_at(THETA), "changed": prior_at(1.5 - THETA)}
    found = strengths(priors, {"a": good, "changed": good}, RIDGE, **NOISE)
    alone = strengths({"b": prior_at(THETA)}, {}, RIDGE, **NOISE)["b"]
    with_a = strengths({"a": priors["a"], "b": priors["b"]}, {"a": good}, RIDGE, **NOISE)["b"]
    assert with_a > alone
    assert found["changed"] < 0.01
