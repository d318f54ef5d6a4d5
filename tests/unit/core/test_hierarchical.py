"""The hierarchical learner against the same model written down densely, and what sharing is for."""

from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.arm_state import ArmState
from bandit_router.core.learners.hierarchical import arm_posteriors
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.pool_state import PoolState
from bandit_router.core.prior import ArmPrior
from bandit_router.core.regression import FloatArray, GaussianPrior
from bandit_router.core.spec import SpecError

D, K = 4, 3
COMMON = GaussianPrior.ridge(D, level=0.6, bias_precision=0.3, slope_precision=0.7)
DEVIATION = np.array([2.0, 3.0, 5.0, 3.0])


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def contexts(random: np.random.Generator, count: int, dimension: int = D) -> FloatArray:
    rows = random.normal(size=(count, dimension)) / 2.0
    rows[:, 0] = 1.0
    return rows


def state_of(observed: dict[str, tuple[FloatArray, FloatArray]]) -> PoolState:
    """A state in which each arm has seen its contexts (n, d) and rewards (n,)."""
    dimension = next(iter(observed.values()))[0].shape[1]
    state = PoolState(dimension)
    for arm_id, (rows, rewards) in observed.items():
        arm = state.arms[arm_id] = ArmState.empty(dimension)
        for x, y in zip(rows, rewards, strict=True):
            arm.reward.add(x, float(y))
    return state


def dense_solution(rows: list[FloatArray], rewards: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Means (K, d) and covariances (K, d, d) from the joint normal of (w, δ_1 … δ_K) given all rewards, noise 1."""
    size = D * (K + 1)
    design = np.zeros((sum(len(part) for part in rows), size))
    start = 0
    for index, part in enumerate(rows):
        design[start : start + len(part), :D] = part
        design[start : start + len(part), D * (index + 1) : D * (index + 2)] = part
        start += len(part)
    precision = np.zeros((size, size))
    precision[:D, :D] = COMMON.precision
    precision[D:, D:] = np.diag(np.tile(DEVIATION, K))
    mean = np.concatenate([COMMON.mean, np.zeros(D * K)])
    covariance = np.linalg.inv(precision + design.T @ design)
    found = covariance @ (precision @ mean + design.T @ np.concatenate(rewards))
    picks = [np.hstack([np.eye(D), *[np.eye(D) * (other == index) for other in range(K)]]) for index in range(K)]
    return np.array([pick @ found for pick in picks]), np.array([pick @ covariance @ pick.T for pick in picks])


@pytest.mark.parametrize("counts", [(0, 0, 0), (5, 0, 2), (40, 7, 90)])
def test_posteriors_are_those_of_the_joint_model(counts: tuple[int, int, int]) -> None:
    random = generator(sum(counts))
    rows = [contexts(random, count) for count in counts]
    rewards = [random.random(count) for count in counts]
    gram, moment = np.array([x.T @ x for x in rows]), np.array([x.T @ y for x, y in zip(rows, rewards, strict=True)])
    found = arm_posteriors(gram, moment, common=COMMON, deviation=DEVIATION)
    mean, covariance = dense_solution(rows, rewards)
    np.testing.assert_allclose(found.mean, mean, atol=1e-10)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-10)


def test_an_arm_nobody_has_tried_is_expected_to_be_like_the_others() -> None:
    random = generator(1)
    rows = contexts(random, 400)
    slopes = np.array([0.5, 0.3, -0.2, 0.1])
    state = state_of({"a": (rows[:200], rows[:200] @ slopes), "b": (rows[200:], rows[200:] @ slopes)})
    model = build_model(state, ["a", "b", "new"], parse_learner("hierarchical"))
    known, deviation = model.fitted.rewards.predict(rows[:50])
    assert float(np.corrcoef(known[:, 2], rows[:50] @ slopes)[0, 1]) > 0.99
    assert (deviation[:, 2] > 3 * deviation[:, 0]).all()


def test_sharing_predicts_better_than_separate_regressions_where_arms_are_alike_and_outcomes_few() -> None:
    errors = {"hierarchical": 0.0, "linucb": 0.0}
    for seed in range(20):
        random = generator(seed)
        common = random.normal(size=12) / 3.0
        arms = [f"arm{index}" for index in range(8)]
        truth = {arm: common + np.concatenate([[random.normal() / 5.0], random.normal(size=11) / 30.0]) for arm in arms}
        observed = {}
        for arm in arms:
            rows = contexts(random, 15, 12)
            observed[arm] = rows, rows @ truth[arm] + random.normal(size=15) / 3.0
        fresh = contexts(random, 200, 12)
        target = np.stack([fresh @ truth[arm] for arm in arms], axis=1)
        for name in errors:
            predicted, _ = build_model(state_of(observed), arms, parse_learner(name)).fitted.rewards.predict(fresh)
            errors[name] += float(np.mean(np.square(predicted - target)))
    assert errors["hierarchical"] < 0.7 * errors["linucb"]


def test_removed_arms_go_on_telling_about_the_others() -> None:
    rows = contexts(generator(3), 100)
    state = state_of({"gone": (rows, np.full(100, 0.2))})
    (mean,), _ = build_model(state, ["new"], parse_learner("hierarchical")).fitted.rewards.predict(rows[:1])
    assert mean[0] < 0.4


def test_deviations_are_in_units_of_the_reward() -> None:
    rows = contexts(generator(4), 300)
    noise = generator(5).normal(size=300)
    spread = {}
    for scale in (0.05, 0.4):
        state = state_of({"a": (rows, 0.5 + scale * noise)})
        _, deviation = build_model(state, ["a"], parse_learner("hierarchical")).fitted.rewards.predict(rows)
        spread[scale] = float(deviation.mean())
    assert spread[0.4] > 4 * spread[0.05]


def test_optimism_grows_with_the_number_of_arms() -> None:
    few = build_model(PoolState(D), ["a", "b"], parse_learner("hierarchical")).alpha
    many = build_model(PoolState(D), [str(index) for index in range(16)], parse_learner("hierarchical")).alpha
    assert many == pytest.approx(2.0 * few)


def test_a_prior_that_rewards_bear_out_is_believed() -> None:
    rows = contexts(generator(6), 60)
    truth = np.array([0.9, 0.2, 0.0, 0.0])
    prior = {"a": ArmPrior(truth, 50.0 * np.eye(D)), "b": ArmPrior(truth - 0.5, 50.0 * np.eye(D))}
    state = state_of({"a": (rows, rows @ truth), "b": (rows[:0], np.zeros(0))})
    with_prior, _ = build_model(state, ["a", "b"], parse_learner("hierarchical"), prior).fitted.rewards.predict(rows)
    without, _ = build_model(state, ["a", "b"], parse_learner("hierarchical")).fitted.rewards.predict(rows)
    wanted = rows @ (truth - 0.5)
    assert np.abs(with_prior[:, 1] - wanted).mean() < 0.3 * np.abs(without[:, 1] - wanted).mean()


def drifting(level: float) -> tuple[PoolState, FloatArray]:
    """An arm whose rewards followed the queries for 300 and have been at one level for 30; another that stays."""
    random = generator(7)
    rows, state = contexts(random, 330), PoolState(D)
    for number, x in enumerate(rows):
        usual = float(x @ [0.8, 0.3, 0.0, 0.0]) + 0.1 * float(random.normal())
        rewards = {"a": usual if number < 300 else level, "b": 0.7 + 0.3 * float(random.normal())}
        for arm_id, reward in rewards.items():
            state.arms.setdefault(arm_id, ArmState.empty(D)).reward.add(x, reward)
            state.recency.replace(arm_id, x, learned=2 * number, old=None, new=reward)
    return state, rows


def test_an_arm_that_has_changed_is_expected_to_be_at_its_latest_level_at_every_query() -> None:
    state, rows = drifting(0.3)
    found, _ = build_model(state, ["a", "b"], parse_learner("hierarchical")).fitted.rewards.predict(rows)
    unmoved, _ = build_model(state, ["a", "b"], parse_learner("hierarchical:shift=1e9")).fitted.rewards.predict(rows)
    assert np.ptp(found[:, 0]) == pytest.approx(0.0, abs=1e-9)
    assert found[0, 0] < 0.45
    np.testing.assert_array_equal(found[:, 1], unmoved[:, 1])


def test_the_latest_level_is_as_uncertain_as_so_few_rewards_leave_it_beside_what_was() -> None:
    state, rows = drifting(0.3)
    spread = {}
    for shift in ("3", "1e9"):
        model = build_model(state, ["a", "b"], parse_learner(f"hierarchical:shift={shift}"))
        spread[shift] = model.fitted.rewards.predict(rows)[1]
    added = spread["3"] ** 2 - spread["1e9"] ** 2
    assert np.ptp(added[:, 0]) == pytest.approx(0.0, abs=1e-9)
    assert 0.01 < np.sqrt(added[0, 0]) < 0.1
    np.testing.assert_array_equal(spread["3"][:, 1], spread["1e9"][:, 1])


def test_chance_is_measured_by_the_arms_own_rewards() -> None:
    """What is far from chance for a steady arm is within it for one that varies, in the same pool."""
    state, rows = drifting(0.8)
    for number, x in enumerate(rows[:20]):
        for arm_id in ("a", "b"):
            state.recency.replace(arm_id, x, learned=660 + number, old=None, new=0.55)
    found, _ = build_model(state, ["a", "b"], parse_learner("hierarchical")).fitted.rewards.predict(rows)
    unmoved, _ = build_model(state, ["a", "b"], parse_learner("hierarchical:shift=1e9")).fitted.rewards.predict(rows)
    assert np.abs(found[:, 0] - unmoved[:, 0]).mean() > 0.05
    np.testing.assert_array_equal(found[:, 1], unmoved[:, 1])


@pytest.mark.parametrize("spec", ["alpha=-1", "deviation=0", "bias=0", "common=0", "shift=0"])
def test_parameters_without_sense_are_refused_by_name(spec: str) -> None:
    with pytest.raises(SpecError, match=spec.partition("=")[0]):
        parse_learner(f"hierarchical:{spec}")
