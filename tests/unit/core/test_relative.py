"""Arms with relative priors against the same model written down densely, and what keeping contrasts is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_t

from bandit_router.core.learners.hierarchical import arm_posteriors
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.learners.relative import (
    PriorSums,
    Shrinkage,
    Sums,
    relative_posteriors,
    relative_strengths,
)
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.preferences.scores import combined
from bandit_router.core.prior import ArmPrior, Relative
from bandit_router.core.prior_strength import STRENGTHS
from bandit_router.core.regression import FloatArray, GaussianPrior
from tests.unit.core.test_hierarchical import contexts, generator, state_of

D = 4
ARMS = ("a", "b", "c")
SHARED = 0.3 * np.eye(D) + 0.1
SHRINKAGE = Shrinkage(
    GaussianPrior.ridge(D, level=0.6, bias_precision=0.3, slope_precision=0.7), np.array([2.0, 3.0, 5.0, 3.0]), SHARED
)
LEVELS = {"a": 0.3, "b": 0.4, "c": 0.6}
PARTS = ("gram", "moment", "square", "count")
NOISE = {"noise_guess": 0.1, "noise_weight": 10.0}


def priors(seed: int = 1) -> dict[str, ArmPrior]:
    """Battles of two arms, scores of two."""
    random = generator(seed)

    def battles() -> ArmPrior:
        rows = random.normal(size=(9, D))
        return Relative(random.normal(size=D), rows.T @ rows, SHARED).alone()

    scores = ArmPrior(random.normal(size=D), 3.0 * np.eye(D) + 0.5)
    return {"a": battles(), "b": combined(battles(), scores), "c": scores}


def outcomes(counts: tuple[int, ...], seed: int = 2) -> list[tuple[FloatArray, FloatArray]]:
    random = generator(seed)
    return [(contexts(random, count), random.random(count)) for count in counts]


def sums_of(observed: list[tuple[FloatArray, FloatArray]]) -> Sums:
    return Sums(
        gram=np.array([x.T @ x for x, _ in observed]),
        moment=np.array([y @ x for x, y in observed]),
        square=np.array([y @ y for _, y in observed]),
        count=np.array([float(len(y)) for _, y in observed]),
    )


def joint_prior(known: dict[str, ArmPrior], strengths: FloatArray, shrinkage: Shrinkage) -> tuple[FloatArray, ...]:
    """Mean and covariance of (θ_1 … θ_K, w, e) given the priors, each factor of the model multiplied in by itself."""
    size = D * (len(ARMS) + 2)
    precision, information = np.zeros((size, size)), np.zeros(size)

    def block(place: int) -> FloatArray:
        return np.eye(size)[place * D : (place + 1) * D]

    def multiply(rows: FloatArray, mean: FloatArray, certainty: FloatArray) -> None:
        precision[:] += rows.T @ certainty @ rows
        information[:] += rows.T @ certainty @ mean

    common, error = block(len(ARMS)), block(len(ARMS) + 1)
    multiply(common, shrinkage.common.mean, shrinkage.common.precision)
    multiply(error, np.zeros(D), np.linalg.inv(shrinkage.shared))
    for place, (arm_id, strength) in enumerate(zip(ARMS, strengths, strict=True)):
        multiply(block(place) - common, np.zeros(D), np.diag(shrinkage.deviation))
        certainty, absolute = known[arm_id].absolute
        precision[:] += strength * block(place).T @ certainty @ block(place)
        information[:] += strength * block(place).T @ absolute
        part = known[arm_id].relative
        if part is not None:
            multiply(block(place) + error, part.mean, strength * part.precision)
    covariance = np.linalg.inv(precision)
    return covariance @ information, covariance


def design_of(observed: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Rows of all outcomes over (θ_1 … θ_K, w, e)."""
    rows = [np.kron(np.eye(len(ARMS) + 2)[place], x) for place, (x, _) in enumerate(observed)]
    return np.concatenate(rows)


@pytest.mark.parametrize("counts", [(0, 0, 0), (5, 0, 2), (40, 7, 90)])
def test_posteriors_are_those_of_the_joint_model(counts: tuple[int, ...]) -> None:
    known, observed, strengths = priors(), outcomes(counts), np.array([0.1, 1.0, 0.5])
    found = relative_posteriors(sums_of(observed), PriorSums.of(known, ARMS, D), strengths, SHRINKAGE)
    mean, covariance = joint_prior(known, strengths, SHRINKAGE)
    x, y = design_of(observed), np.concatenate([rewards for _, rewards in observed])
    gain = covariance @ x.T @ np.linalg.inv(x @ covariance @ x.T + np.eye(len(x)))
    mean, covariance = mean + gain @ (y - x @ mean), covariance - gain @ x @ covariance
    for place in range(len(ARMS)):
        part = slice(place * D, (place + 1) * D)
        np.testing.assert_allclose(found.mean[place], mean[part], atol=1e-10)
        np.testing.assert_allclose(found.covariance[place], covariance[part, part], atol=1e-10)


@pytest.mark.parametrize("counts", [(0, 0, 0), (6, 0, 3), (30, 8, 20)])
def test_strengths_are_averaged_by_the_evidence_of_the_joint_model(counts: tuple[int, ...]) -> None:
    known, observed, share = priors(), outcomes(counts), 0.5

    def evidence(strength: float, without: int | None = None) -> float:
        counted = [(x[:0], y[:0]) if place == without else (x, y) for place, (x, y) in enumerate(observed)]
        x, y = design_of(counted), np.concatenate([rewards for _, rewards in counted])
        mean, covariance = joint_prior(known, np.full(len(ARMS), strength), SHRINKAGE)
        weight, guess = NOISE["noise_weight"], NOISE["noise_guess"]
        spread = guess * (np.eye(len(x)) + x @ covariance @ x.T)
        return float(multivariate_t.logpdf(y, x @ mean, spread, df=weight)) if len(y) else 0.0

    total = np.array([evidence(strength) for strength in STRENGTHS])
    expected = []
    for place in range(len(ARMS)):
        own = total - [evidence(strength, place) for strength in STRENGTHS]
        weights = np.exp(own + share * (total - own))
        expected.append(weights @ STRENGTHS / weights.sum())
    found = relative_strengths(sums_of(observed), PriorSums.of(known, ARMS, D), SHRINKAGE, **NOISE, shared=share)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_with_nothing_shared_a_relative_part_is_one_more_source_of_its_arm() -> None:
    sums, strengths = sums_of(outcomes((5, 0, 20))), np.array([0.3, 1.0, 0.5])
    shrinkage = Shrinkage(SHRINKAGE.common, SHRINKAGE.deviation, 1e-11 * np.eye(D))
    known = PriorSums.of(priors(), ARMS, D)
    found = relative_posteriors(sums, known, strengths, shrinkage)
    expected = arm_posteriors(
        sums.gram + strengths[:, None, None] * (known.gram + known.own),
        sums.moment + strengths[:, None] * (known.moment + known.battled),
        common=SHRINKAGE.common,
        deviation=SHRINKAGE.deviation,
    )
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-7)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-7)


def test_at_strength_nought_nothing_of_the_prior_is_left() -> None:
    sums = sums_of(outcomes((5, 0, 20)))
    found = relative_posteriors(sums, PriorSums.of(priors(), ARMS, D), np.zeros(3), SHRINKAGE)
    expected = arm_posteriors(sums.gram, sums.moment, common=SHRINKAGE.common, deviation=SHRINKAGE.deviation)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-12)


def test_the_order_of_arms_does_not_matter() -> None:
    observed, known = outcomes((5, 9, 2)), priors()
    state = state_of(dict(zip(ARMS, observed, strict=True)))
    x = contexts(generator(5), 6)
    one, spread = build_model(state, ARMS, parse_learner("hierarchical"), known).fitted.rewards.predict(x)
    backwards = dict(reversed(known.items()))
    other, again = build_model(state, ARMS[::-1], parse_learner("hierarchical"), backwards).fitted.rewards.predict(x)
    np.testing.assert_allclose(other[:, ::-1], one, rtol=1e-9)
    np.testing.assert_allclose(again[:, ::-1], spread, rtol=1e-9)


def battled_world(seed: int) -> tuple[dict[str, FloatArray], dict[str, ArmPrior]]:
    """What arms are worth, and battles that know how they differ but put all of them .5 too high."""
    random = generator(seed)
    truth = {arm_id: np.concatenate([[level], 0.1 * random.normal(size=D - 1)]) for arm_id, level in LEVELS.items()}
    off = np.array([0.5, 0.1, 0.0, -0.1])
    known = {
        arm_id: Relative(theta + off + 0.01 * random.normal(size=D), 500.0 * np.eye(D), np.eye(D)).alone()
        for arm_id, theta in truth.items()
    }
    return truth, known


def rewarded(truth: dict[str, FloatArray], counts: dict[str, int], seed: int) -> PoolState:
    random = generator(seed)
    rows = {arm_id: contexts(random, count) for arm_id, count in counts.items()}
    return state_of({a: (x, x @ truth[a] + 0.2 * random.normal(size=len(x))) for a, x in rows.items()})


def error(truth: dict[str, FloatArray], state: PoolState, known: dict[str, ArmPrior], arm_id: str) -> float:
    x = contexts(generator(9), 200)
    model = build_model(state, ARMS, parse_learner("hierarchical"), known)
    found, _ = model.fitted.rewards.predict(x)
    return float(np.abs(found[:, ARMS.index(arm_id)] - x @ truth[arm_id]).mean())


@pytest.mark.parametrize("seed", range(3))
def test_rewards_of_one_arm_give_the_others_their_level_where_contrasts_are_known(seed: int) -> None:
    truth, known = battled_world(seed)
    state = rewarded(truth, {"a": 40}, seed)
    marginal = {arm_id: ArmPrior(prior.mean, prior.precision) for arm_id, prior in known.items()}
    apart = error(truth, state, known, "c")
    assert apart < 0.6 * error(truth, state, marginal, "c")
    assert apart < 0.6 * error(truth, state, {}, "c")


@pytest.mark.parametrize("seed", range(3))
def test_battles_that_lie_are_dropped_although_they_tell_no_level(seed: int) -> None:
    truth, honest = battled_world(seed)
    lying = {arm_id: honest[other] for arm_id, other in zip(ARMS, reversed(ARMS), strict=True)}
    strengths = {}
    for name, known in {"honest": honest, "lying": lying}.items():
        state = rewarded(truth, dict.fromkeys(ARMS, 40), seed)
        sums = Sums(*(np.array([getattr(state.arms[a].reward, part) for a in ARMS]) for part in PARTS))
        shrinkage = Shrinkage(SHRINKAGE.common, SHRINKAGE.deviation, np.eye(D))
        strengths[name] = relative_strengths(sums, PriorSums.of(known, ARMS, D), shrinkage, **NOISE, shared=0.5)
    assert strengths["lying"].max() < 0.02
    assert strengths["honest"].min() > 0.2
    state = rewarded(truth, dict.fromkeys(ARMS, 100), seed)
    assert error(truth, state, lying, "c") < error(truth, state, {}, "c") + 0.02
