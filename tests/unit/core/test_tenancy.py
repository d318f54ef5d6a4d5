"""What a tenant is served from: its own outcomes in full, the others' with a bounded say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.decision import Decision
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import PoolModel, build_model
from bandit_router.core.outcomes import Bill, Billing, Outcome
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.regression import FloatArray
from bandit_router.core.seats import MAX_SEATS
from bandit_router.core.spec import SpecError
from bandit_router.core.tenancy import Tenancy, seen_by, served_as
from tests.builders import generator, make_decision, make_outcome, make_quote

D = 4
ARMS = ("a", "b", "c")
Event = tuple[Decision, Outcome, Outcome]


def contexts(seed: int, count: int) -> FloatArray:
    rows = generator(seed).normal(size=(count, D)).astype(np.float32).astype(np.float64)
    rows[:, 0] = 1.0
    return rows


def rated(reward: float | None) -> Outcome:
    bill = Bill(50, 100, 120)
    return make_outcome(billing=Billing.BILLED, bill=bill, cost_nusd=50, reward=reward)


def told(
    tenant_id: str, arm_id: str, rows: FloatArray, rewards: Iterable[float], *, isolated: bool = False, at_ms: int = 0
) -> list[Event]:
    """One event per row (n, D) and reward (n,)."""
    found = []
    for number, (row, reward) in enumerate(zip(rows, rewards, strict=True)):
        decision = make_decision(
            row,
            decision_id=f"{tenant_id}-{arm_id}-{at_ms + number}",
            tenant_id=tenant_id,
            isolated=isolated,
            decided_ms=at_ms + number,
            quotes=(make_quote(arm_id),),
        )
        found.append((decision, make_outcome(), rated(float(reward))))
    return found


def taught(*lessons: list[Event]) -> PoolState:
    state = PoolState(D)
    for event in (event for lesson in lessons for event in lesson):
        learn(state, *event)
    return state


def model_for(state: PoolState, tenant_id: str, learner: str = "hierarchical") -> PoolModel:
    choice = parse_learner(learner)
    return build_model(seen_by(state, tenant_id, choice.tenancy), ARMS, choice)


def honest(tenant_id: str, seed: int, count: int, *, level: float = 0.6, isolated: bool = False) -> list[Event]:
    """Outcomes of every arm: the second is better by 0.2, and all are better where x₁ is larger."""
    lessons: list[Event] = []
    for index, arm_id in enumerate(ARMS):
        rows = contexts(seed + index, count)
        noise = 0.05 * generator(seed + 10 + index).normal(size=count)
        rewards = np.clip(level + 0.2 * (arm_id == "b") + 0.1 * rows[:, 1] + noise, 0.0, 1.0)
        lessons += told(tenant_id, arm_id, rows, rewards, isolated=isolated)
    return lessons


def assert_served_alike(one: PoolState, other: PoolState, tenant_id: str) -> None:
    mine, theirs = (model_for(state, tenant_id).predict(contexts(99, 6)) for state in (one, other))
    assert mine.reward == pytest.approx(theirs.reward, abs=1e-8)
    assert mine.deviation == pytest.approx(theirs.deviation, abs=1e-8)
    assert mine.log_tokens == pytest.approx(theirs.log_tokens, abs=1e-8)


def test_a_tenant_alone_is_served_from_the_very_sums_of_the_pool() -> None:
    state = taught(honest("acme", 1, 20))
    assert seen_by(state, "acme", Tenancy()) is state
    plain = taught([(replace(decision, isolated=None), *rest) for decision, *rest in honest("acme", 1, 20)])
    for arm_id in ARMS:
        assert (state.arms[arm_id].reward.gram == plain.arms[arm_id].reward.gram).all()
        assert (state.arms[arm_id].reward.moment == plain.arms[arm_id].reward.moment).all()


def test_records_from_before_tenants_were_told_apart_serve_everyone_until_one_is() -> None:
    old = [(replace(decision, isolated=None), *rest) for decision, *rest in honest("acme", 1, 20)]
    state = taught(old)
    assert seen_by(state, "acme", Tenancy()) is seen_by(state, "other", Tenancy()) is state
    assert seen_by(taught(old, honest("acme", 2, 3)), "acme", Tenancy()) is not state


def test_what_a_tenant_is_served_is_the_posterior_of_the_mixed_model() -> None:
    """Densely: coefficients of tenant t, its level's deviation, and those of the two others, all observed at once."""
    counts = {"t": 7, "u": 30, "v": 12}
    rows = {name: contexts(seed, count) for seed, (name, count) in enumerate(counts.items())}
    rewards = {name: generator(50 + count).random(count) for name, count in counts.items()}
    kappa, ridge, level = 4.0, 2.0, 0.5
    design, columns = [], {"u": D + 1, "v": D + 2}
    for name, part in rows.items():
        block = np.zeros((len(part), D + 3))
        block[:, :D] = part
        if name != "t":
            block[:, D], block[:, columns[name]] = -1.0, 1.0
        design.append(block)
    stacked, observed = np.concatenate(design), np.concatenate([rewards[name] for name in rows])
    precision = np.diag([ridge] * D + [kappa] * 3)
    expected = np.linalg.solve(
        precision + stacked.T @ stacked, precision @ [level, *[0.0] * (D + 2)] + stacked.T @ observed
    )
    covariance = np.linalg.inv(precision + stacked.T @ stacked)[:D, :D]
    state = taught(*(told(name, "a", rows[name], rewards[name]) for name in rows))
    model = model_for(state, "t", f"linucb:level={level},bias={ridge},ridge={ridge},taste={kappa},voice=1000")
    found, asked = model.predict(np.eye(D)), np.eye(D)
    assert found.reward[:, 0] == pytest.approx(asked @ expected[:D], abs=1e-9)
    ratios = np.square(found.deviation[:, 0]) / np.diag(covariance)
    assert ratios == pytest.approx(np.full(D, ratios[0]))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_tenants_teach_the_same_in_any_order(seed: int) -> None:
    events = [*honest("acme", 1, 15), *honest("zoo", 5, 9, level=0.3), *honest("lone", 9, 5, isolated=True)]
    shuffled = [events[index] for index in generator(seed).permutation(len(events))]
    for tenant_id in ("acme", "zoo", "lone", "new"):
        assert_served_alike(taught(shuffled), taught(events), tenant_id)


def test_a_correction_is_as_if_the_first_value_had_never_come_whoever_is_served() -> None:
    first, second = honest("acme", 1, 15), honest("zoo", 5, 9)
    third = honest("lone", 9, 5, isolated=True)
    events = [*first, *second, *third]
    wrong = [(decision, before, rated(1.0 - (after.reward or 0.0))) for decision, before, after in events]
    corrections = [(d, mistaken, after) for (d, _, mistaken), (_, _, after) in zip(wrong, events, strict=True)]
    for tenant_id in ("acme", "zoo", "lone", "new"):
        assert_served_alike(taught(wrong, corrections), taught(events), tenant_id)


def test_it_does_not_matter_how_outcomes_are_batched_into_snapshots() -> None:
    events = [*honest("acme", 1, 12), *honest("zoo", 5, 9), *honest("lone", 9, 5, isolated=True)]
    state = PoolState(D)
    for number, event in enumerate(events):
        learn(state, *event)
        if number % 5 == 0:
            state = decode_pool_state(encode_pool_state(state)).copy()
    assert encode_pool_state(state) == encode_pool_state(taught(events))


def test_an_isolated_tenant_reads_the_pool_and_writes_to_itself_alone() -> None:
    shared = [*honest("acme", 1, 30), *honest("zoo", 5, 30)]
    zeros = told("lone", "b", contexts(3, 60), np.zeros(60), isolated=True)
    without, having = taught(shared), taught(shared, zeros)
    for tenant_id in ("acme", "zoo", "new"):
        assert_served_alike(having, without, tenant_id)
    asked = contexts(99, 6)
    others, own = (model_for(having, name).predict(asked).reward for name in ("new", "lone"))
    assert (own[:, 1] < others[:, 1] - 0.4).all()
    assert np.abs(own[:, 0] - others[:, 0]).max() < 0.3
    assert np.abs(model_for(having, "lone").predict(asked).reward[:, 2] - 0.6).max() < 0.45


def test_an_isolated_tenant_alone_learns_as_a_sharing_one_would() -> None:
    apart, shared = taught(honest("acme", 1, 30, isolated=True)), taught(honest("acme", 1, 30))
    assert not apart.arms
    assert_served_alike(apart, shared, "acme")


def test_a_tenant_that_ceases_to_be_isolated_keeps_what_it_has_learned() -> None:
    moved = taught(honest("acme", 1, 30, isolated=True), honest("acme", 4, 30))
    assert_served_alike(moved, taught(honest("acme", 1, 30), honest("acme", 4, 30)), "acme")


def test_a_tenants_level_is_soon_its_own_and_a_new_one_starts_between() -> None:
    state = taught(honest("mild", 1, 100, level=0.7), honest("harsh", 5, 100, level=0.2))
    asked = np.eye(D)[:1]
    mild, harsh, new = (model_for(state, name).predict(asked) for name in ("mild", "harsh", "new"))
    assert mild.reward[0, 0] == pytest.approx(0.7, abs=0.06)
    assert harsh.reward[0, 0] == pytest.approx(0.2, abs=0.06)
    assert new.reward[0, 0] == pytest.approx(0.45, abs=0.05)
    assert (new.deviation > mild.deviation).all()


def test_one_tenants_arm_teaches_another_what_its_slopes_are() -> None:
    rows = contexts(7, 150)
    lessons = told("acme", "a", rows, np.clip(0.5 + 0.15 * rows[:, 2], 0.0, 1.0))
    model = model_for(taught(lessons, told("zoo", "b", rows[:3], [0.5] * 3)), "zoo")
    found = model.predict(np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, -1.0, 0.0]])).reward[:, 0]
    assert found[0] - found[1] == pytest.approx(0.3, abs=0.05)


ATTACKS = {
    "zeros": lambda count: (contexts(3, count), np.zeros(count)),
    "zeros at one query": lambda count: (np.tile([1.0, 0.5, 0.0, 0.0], (count, 1)), np.zeros(count)),
    "ones far away, zeros here": lambda count: (
        np.vstack([np.tile([1.0, 0.5, 0, 0], (count // 2, 1)), np.tile([1.0, -6, 0, 0], (count - count // 2, 1))]),
        np.repeat([0.0, 1.0], [count // 2, count - count // 2]),
    ),
    "a cliff in a tiny feature": lambda count: (
        np.column_stack([np.ones(count), np.tile([1e-2, -1e-2], count // 2), np.zeros((count, 2))]),
        np.tile([0.0, 1.0], count // 2),
    ),
}


def sway(state: PoolState, attack: list[Event], learner: str) -> tuple[FloatArray, FloatArray]:
    """How far the attack moves the victim's predictions of arm b at the asked contexts, and the stated bound.

    The bound is about the posterior: following the victim's own latest rewards, which would undo most, is off.
    """
    learner += ",shift=1e9"
    asked = np.vstack([contexts(99, 20), [1.0, 0.5, 0.0, 0.0]])
    attacked = state.copy()
    for event in attack:
        learn(attacked, *event)
    before, after = model_for(state, "victim", learner), model_for(attacked, "victim", learner)
    moved = np.abs(after.predict(asked).reward[:, 1] - before.predict(asked).reward[:, 1])
    rows = np.array([decision.context for decision, _, _ in attack])
    residuals = np.abs([a.reward or 0.0 for _, _, a in attack] - before.predict(rows).reward[:, 1])
    noise = before.fitted.rewards.noise[1]  # type: ignore[attr-defined]
    spread = before.predict(asked).deviation[:, 1] / math.sqrt(noise)
    voice = parse_learner(learner).tenancy.voice
    return moved, 0.5 * math.sqrt(voice) * spread * residuals.max()


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("count", [10, 1000])
@pytest.mark.parametrize("voice", [20, 200])
def test_no_other_tenant_can_move_a_prediction_further_than_stated(kind: str, count: int, voice: int) -> None:
    state = taught(honest("victim", 1, 40), honest("acme", 5, 60))
    attack = told("evil", "b", *ATTACKS[kind](count))
    moved, bound = sway(state, attack, f"hierarchical:voice={voice}")
    assert (moved <= bound).all()


def test_the_bound_is_one_that_an_attacker_without_a_cap_does_break() -> None:
    state = taught(honest("victim", 1, 40), honest("acme", 5, 60))
    attack = told("evil", "b", *ATTACKS["ones far away, zeros here"](3000))
    moved, _ = sway(state, attack, "hierarchical:voice=1e9,taste=1e9")
    _, bound = sway(state, attack, "hierarchical:voice=20")
    assert moved[-1] > bound[-1]


def test_the_bound_is_attained_up_to_the_freedom_of_levels() -> None:
    state = taught(honest("victim", 1, 40))
    asked = np.array([1.0, 0.5, 0.0, 0.0])
    before = model_for(state, "victim", "hierarchical:shift=1e9")
    found = before.predict(asked[None, :])
    variance = float(found.deviation[0, 1]) ** 2 / before.fitted.rewards.noise[1]  # type: ignore[attr-defined]
    attack = told("evil", "b", *ATTACKS["zeros at one query"](100))
    moved, bound = sway(state, attack, f"hierarchical:taste=1e9,voice={1 / variance}")
    assert moved[-1] == pytest.approx(bound[-1], rel=0.01)


def test_following_ones_own_latest_rewards_undoes_most_of_an_attack() -> None:
    state = taught(honest("victim", 1, 40))
    asked = np.array([[1.0, 0.5, 0.0, 0.0]])
    attacked = taught(honest("victim", 1, 40), told("evil", "b", *ATTACKS["zeros at one query"](100)))
    before, after, still = (
        model_for(known, "victim", learner).predict(asked).reward[0, 1]
        for known, learner in (
            (state, "hierarchical"),
            (attacked, "hierarchical:taste=1e9"),
            (attacked, "hierarchical:taste=1e9,shift=1e9"),
        )
    )
    assert before - after < 0.3 * (before - still)


def test_ten_times_the_feedback_moves_others_hardly_further() -> None:
    state = taught(honest("victim", 1, 40), honest("acme", 5, 60))
    short, long = (
        sway(state, told("evil", "b", *ATTACKS["zeros"](count)), "hierarchical:voice=200")[0].max()
        for count in (300, 3000)
    )
    assert long < short + 0.03


def test_tenants_beyond_the_seats_are_heard_together_as_one() -> None:
    crowd = [honest(f"t{number:02}", 1, 1) for number in range(MAX_SEATS + 3)]
    state = taught(honest("victim", 1, 40), *crowd)
    assert len(state.tenants.sharing.by_tenant) == MAX_SEATS
    assert served_as(state, "victim") == "victim"
    assert served_as(state, "nobody") == ""
    unseated = [f"t{number:02}" for number in range(MAX_SEATS + 3)]
    assert [served_as(state, name) for name in unseated].count("") == 4


@pytest.mark.parametrize("text", ["linucb:voice=0", "hierarchical:taste=-1"])
def test_a_bound_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_learner(text)
