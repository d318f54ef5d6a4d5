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
    keeping_to_pattern,
    relative_posteriors,
    relative_strengths,
)
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.preferences.scores import with_scores
from bandit_router.core.prior import ArmPrior, Relative
from bandit_router.core.prior_strength import STRENGTHS
from bandit_router.core.regression import FloatArray, GaussianPrior
from tests.unit.core.test_hierarchical import contexts, generator, state_of

D = 4
ARMS = ("a", "b", "c")
COMMON = GaussianPrior.ridge(D, level=0.6, bias_precision=0.3, slope_precision=0.7)
SHRINKAGE = Shrinkage(COMMON, np.array([2.0, 3.0, 5.0, 3.0]), scale_precision=0.4)
LEVELS = {"a": 0.3, "b": 0.4, "c": 0.6}
PARTS = ("gram", "moment", "square", "count")
NOISE = {"noise_guess": 0.1, "noise_weight": 10.0}


def priors(seed: int = 1) -> dict[str, ArmPrior]:
    """Battles of two arms, scores of two."""
    random = generator(seed)

    def battles() -> ArmPrior:
        rows = random.normal(size=(9, D))
        return Relative(random.normal(size=D), rows.T @ rows, np.eye(D)).alone()

    scores = ArmPrior(random.normal(size=D), 3.0 * np.eye(D) + 0.5)
    scored = with_scores(battles(), contexts(random, 7), random.random(7))
    return {"a": battles(), "b": scored, "c": scores}


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
    """Precision, and precision times mean, of (θ_1 … θ_K, w, s), each factor of the model multiplied in by itself."""
    size = D * (len(ARMS) + 1) + 1
    precision, information = np.zeros((size, size)), np.zeros(size)

    def block(place: int) -> FloatArray:
        return np.eye(size)[place * D : (place + 1) * D]

    def multiply(rows: FloatArray, mean: FloatArray, certainty: FloatArray) -> None:
        precision[:] += rows.T @ certainty @ rows
        information[:] += rows.T @ certainty @ mean

    common, scale = block(len(ARMS)), np.eye(size)[-1:]
    multiply(common, shrinkage.common.mean, shrinkage.common.precision)
    multiply(scale, np.ones(1), np.array([[shrinkage.scale_precision]]))
    middle = np.mean([prior.relative.mean for prior in known.values() if prior.relative is not None], axis=0)
    for place, (arm_id, strength) in enumerate(zip(ARMS, strengths, strict=True)):
        part, certainty, rows = known[arm_id].relative, np.diag(shrinkage.deviation), block(place) - common
        if part is not None:
            certainty, rows = certainty + strength * part.precision, rows - np.outer(part.mean - middle, scale)
        multiply(rows, np.zeros(D), certainty)
        told, absolute = known[arm_id].absolute
        precision[:] += strength * block(place).T @ told @ block(place)
        information[:] += strength * block(place).T @ absolute
    return precision, information


def design_of(observed: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Rows of all outcomes over (θ_1 … θ_K, w, s)."""
    rows = [np.kron(np.eye(len(ARMS) + 1)[place], x) for place, (x, _) in enumerate(observed)]
    return np.pad(np.concatenate(rows), ((0, 0), (0, 1)))


@pytest.mark.parametrize("counts", [(0, 0, 0), (5, 0, 2), (40, 7, 90)])
def test_means_are_those_of_the_joint_model_and_covariances_those_given_the_scale(counts: tuple[int, ...]) -> None:
    known, observed, strengths = priors(), outcomes(counts), np.array([0.1, 1.0, 0.5])
    found = relative_posteriors(sums_of(observed), PriorSums.of(known, ARMS, D), strengths, SHRINKAGE)
    precision, information = joint_prior(known, strengths, SHRINKAGE)
    x, y = design_of(observed), np.concatenate([rewards for _, rewards in observed])
    precision = precision + x.T @ x
    mean, covariance = np.linalg.solve(precision, information + y @ x), np.linalg.inv(precision[:-1, :-1])
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
        precision, information = joint_prior(known, np.full(len(ARMS), strength), SHRINKAGE)
        mean, covariance = np.linalg.solve(precision, information), np.linalg.inv(precision)
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


def test_with_the_scale_known_arms_deviate_from_what_battles_say_as_else_from_each_other() -> None:
    observed, known = outcomes((5, 0, 20)), PriorSums.of(priors(), ARMS, D)
    pattern = known.pattern
    shrinkage = Shrinkage(SHRINKAGE.common, SHRINKAGE.deviation, scale_precision=1e12)
    found = relative_posteriors(sums_of(observed), known, np.zeros(3), shrinkage)
    rest = sums_of([(x, y - x @ theta) for (x, y), theta in zip(observed, pattern, strict=True)])
    expected = arm_posteriors(rest.gram, rest.moment, common=SHRINKAGE.common, deviation=SHRINKAGE.deviation)
    np.testing.assert_allclose(found.mean, expected.mean + pattern, atol=1e-9)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-9)


def test_battles_that_tell_no_difference_leave_nothing_at_strength_nought() -> None:
    sums, level = sums_of(outcomes((5, 0, 20))), np.array([0.7, 0.1, 0.0, 0.2])
    known = {arm_id: Relative(level, 50.0 * np.eye(D), np.eye(D)).alone() for arm_id in ARMS}
    found = relative_posteriors(sums, PriorSums.of(known, ARMS, D), np.zeros(3), SHRINKAGE)
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


def battled_world(seed: int, scale: float = 1.0) -> tuple[dict[str, FloatArray], dict[str, ArmPrior]]:
    """What arms are worth, and battles that know how they differ, `scale` times as large, but put all .5 too high."""
    random = generator(seed)
    truth = {arm_id: np.concatenate([[level], 0.1 * random.normal(size=D - 1)]) for arm_id, level in LEVELS.items()}
    off = np.array([0.5, 0.1, 0.0, -0.1])
    known = {
        arm_id: Relative(scale * theta + off + 0.01 * random.normal(size=D), 500.0 * np.eye(D), np.eye(D)).alone()
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


@pytest.mark.parametrize("scale", [0.2, -0.5])
def test_rewards_of_two_arms_tell_the_third_whatever_a_logit_is_worth(scale: float) -> None:
    with_battles, without = [], []
    for seed in range(8):
        truth, known = battled_world(seed, scale)
        state = rewarded(truth, {"a": 100, "b": 100}, seed)
        with_battles.append(error(truth, state, known, "c"))
        without.append(error(truth, state, {}, "c"))
    assert np.mean(with_battles) < 0.7 * np.mean(without)


def test_an_arm_keeps_to_the_pattern_as_far_as_there_is_one() -> None:
    known, observed, strengths = priors(), outcomes((30, 8, 20)), np.array([0.1, 1.0, 0.5])
    sums, before = sums_of(observed), PriorSums.of(known, ARMS, D)
    found = keeping_to_pattern(sums, before, strengths, SHRINKAGE, **NOISE)
    precision, information = joint_prior(known, strengths, SHRINKAGE)
    x, y = design_of(observed), np.concatenate([rewards for _, rewards in observed])
    mean, covariance = np.linalg.solve(precision + x.T @ x, information + y @ x), np.linalg.inv(precision + x.T @ x)
    noise = (np.sum((y - x @ mean) ** 2) + 1.0) / (len(y) + 10.0)
    share = mean[-1] ** 2 / (mean[-1] ** 2 + noise * covariance[-1, -1])
    np.testing.assert_allclose(found.own, share * before.own, rtol=1e-9)
    np.testing.assert_allclose(found.gram, before.gram)


def test_an_untried_arm_is_less_sure_where_tried_ones_show_nothing_of_the_pattern() -> None:
    deviations: dict[str, list[float]] = {"shown": [], "not shown": []}
    rows, alike = contexts(generator(9), 200), dict.fromkeys(ARMS, np.array([0.7, 0.1, 0.0, 0.0]))
    for seed in range(4):
        truth, known = battled_world(seed)
        for name, worth in {"shown": truth, "not shown": alike}.items():
            state = rewarded(worth, {"a": 40, "b": 40}, seed)
            _, found = build_model(state, ARMS, parse_learner("hierarchical"), known).fitted.rewards.predict(rows)
            deviations[name].append(float(found[:, ARMS.index("c")].mean()))
    assert np.mean(deviations["not shown"]) > 1.3 * np.mean(deviations["shown"])


@pytest.mark.parametrize("seed", range(3))
def test_a_pattern_that_does_not_fit_is_dropped(seed: int) -> None:
    truth, honest = battled_world(seed)
    wrong = {"a": honest["b"], "b": honest["c"], "c": honest["a"]}
    kept = {}
    for name, known in {"honest": honest, "wrong": wrong}.items():
        state = rewarded(truth, dict.fromkeys(ARMS, 40), seed)
        sums = Sums(*(np.array([getattr(state.arms[a].reward, part) for a in ARMS]) for part in PARTS))
        sources = PriorSums.of(known, ARMS, D)
        strengths = relative_strengths(sums, sources, SHRINKAGE, **NOISE, shared=0.5)
        share = keeping_to_pattern(sums, sources, strengths, SHRINKAGE, **NOISE).own / sources.own.max()
        kept[name] = strengths * share.max()
    assert kept["wrong"].max() < 0.03
    assert kept["honest"].min() > 0.1
    state = rewarded(truth, dict.fromkeys(ARMS, 100), seed)
    assert error(truth, state, wrong, "c") < error(truth, state, {}, "c") + 0.02
