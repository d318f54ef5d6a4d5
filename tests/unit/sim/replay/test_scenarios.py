"""What a scenario lets happen really happens to the services, at the request it says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from bandit_router.core.money import NUSD_PER_USD
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.resources import WindowKind
from bandit_router.service.messages import RouteReply, RouteRequest
from bandit_router_sim.replay.engine import Replay
from bandit_router_sim.replay.named import DROPPED_REWARD, NAMED
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.result import REFUSED, RunResult
from bandit_router_sim.replay.scenario import (
    ArmChange,
    Change,
    PriceChange,
    QualityChange,
    Scenario,
    ScenarioError,
    TenantShare,
)
from bandit_router_sim.replay.setting import POLICIES, Material, Policy, Setting
from bandit_router_sim.replay.sweep import encoder_handle, replay_one
from tests.unit.sim.compare.compare_logs import ARM_IDS, make_material

T = TypeVar("T")

COUNT = 240
AMPLE_USD = 1.0
SMALL, MEDIUM, LARGE = range(3)
UNPACED = POLICIES["unpaced"]


@pytest.fixture(scope="module")
def material() -> Material:
    return make_material(COUNT)


def play(
    material: Material,
    *changes: Change,
    policy: Policy = UNPACED,
    budget_usd: float = AMPLE_USD,
    learn_share: float = 0.25,
    **fields: Any,
) -> RunResult:
    scenario = Scenario(changes=changes, **fields)
    return replay_one(material, Setting(policy, budget_usd, 5, learn_share, scenario))


def chosen_in(result: RunResult, phase: int) -> set[int]:
    return set(result.trace.chosen[result.trace.phases == phase].tolist())


def stepping(material: Material, scenario: Scenario, *, policy: Policy = UNPACED, budget_usd: float = 1e-3) -> Replay:
    return Replay(material, Setting(policy, budget_usd, 5, 0.0, scenario), encoder_handle)


def run(steps: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(steps)


async def rehearsed(replay: Replay, material: Material) -> RouteReply:
    """What the first query of the log would be answered now."""
    embedding = tuple(material.embeddings[0].tolist())
    request = RouteRequest(tenant_id="replay", embedding=embedding, prompt_tokens=100, dry_run=True)
    return await replay.services.route.route(request)


def test_bills_follow_a_price_change_at_its_request_and_back(material: Material) -> None:
    changes = [PriceChange(60, arm_id, factor=0.1) for arm_id in ARM_IDS]
    changes += [PriceChange(120, arm_id, factor=1.0) for arm_id in ARM_IDS]
    trace = play(material, *changes).trace
    recorded = material.log.costs_usd[trace.rows, trace.chosen]
    expected = np.where(trace.phases == 1, 0.1, 1.0) * recorded
    np.testing.assert_allclose(trace.costs_usd, expected, rtol=1e-12)
    assert np.bincount(trace.phases[60:]).tolist() == [60, 60, 60]


def test_expected_costs_and_holds_follow_a_price_change_before_any_bill_shows_it(material: Material) -> None:
    async def steps() -> tuple[RouteReply, RouteReply]:
        replay = stepping(material, Scenario(changes=(PriceChange(100, "large", factor=0.25),)))
        await replay.begin()
        await replay.advance(100)
        before = await rehearsed(replay, material)
        await replay.advance(101)
        return before, await rehearsed(replay, material)

    before, after = run(steps())
    quotes = {quote.arm_id: quote for quote in before.decision.quotes}
    for quote in after.decision.quotes:
        factor = 0.25 if quote.arm_id == "large" else 1.0
        assert quote.hold_nusd == pytest.approx(quotes[quote.arm_id].hold_nusd * factor, rel=1e-6)
        assert quote.expected_cost_nusd == pytest.approx(quotes[quote.arm_id].expected_cost_nusd * factor, rel=0.05)


def test_a_price_can_be_given_as_the_mean_cost_of_a_call(material: Material) -> None:
    trace = play(material, *(PriceChange(0, arm_id, mean_cost_usd=2e-4) for arm_id in ARM_IDS)).trace
    reported = trace.is_reported
    means = material.log.costs_usd.mean(axis=0)[trace.chosen]
    expected = material.log.costs_usd[trace.rows, trace.chosen] / means * 2e-4
    np.testing.assert_allclose(trace.costs_usd[reported], expected[reported], rtol=1e-9)


def test_quality_drops_in_silence_and_recovers(material: Material) -> None:
    changes = [QualityChange(0.25, arm_id, level=0.1) for arm_id in ARM_IDS]
    changes += [QualityChange(0.5, arm_id, factor=0.5) for arm_id in ARM_IDS]
    changes += [QualityChange(0.75, arm_id, factor=1.0) for arm_id in ARM_IDS]
    trace = play(material, *changes).trace
    recorded = material.log.scores[trace.rows, trace.chosen]
    factor = np.select([trace.phases == 1, trace.phases == 2], [0.0, 0.5], 1.0)
    np.testing.assert_allclose(trace.rewards, factor * recorded + np.where(trace.phases == 1, 0.1, 0.0))
    np.testing.assert_array_equal(trace.costs_usd, material.log.costs_usd[trace.rows, trace.chosen])


@pytest.mark.parametrize("how", ["remove", "drain"])
def test_an_arm_that_has_gone_is_never_chosen_afterwards(material: Material, how: Any) -> None:
    result = play(material, ArmChange(0.5, "large", how))
    assert LARGE in chosen_in(result, 0)
    assert LARGE not in chosen_in(result, 1)
    assert REFUSED not in chosen_in(result, 1)


def test_an_arm_that_joins_is_not_known_before_and_is_used_then(material: Material) -> None:
    result = play(material, ArmChange(0.5, "large", "add"))
    assert LARGE not in set(result.trace.chosen[result.trace.phases < 1].tolist())
    assert LARGE in chosen_in(result, 1)


def test_an_arm_that_joins_with_money_is_tried_until_that_is_spent(material: Material) -> None:
    quota_usd, budget_usd = 0.06, 6e-4
    worse = replace(material.log, scores=material.log.scores * np.array([1.0, 1.0, 0.2]))
    material = replace(material, log=worse)

    def spent_usd(*later: Change, onboarding_usd: float) -> float:
        joins = ArmChange(0.25, "large", "add", onboarding_usd=onboarding_usd)
        trace = play(material, joins, *later, policy=POLICIES["default"], budget_usd=budget_usd).trace
        return float(trace.costs_usd[(trace.phases >= 0) & (trace.chosen == LARGE)].sum())

    dearest_usd = float(material.log.costs_usd[:, LARGE].max())
    assert spent_usd(onboarding_usd=0.0) < 0.5 * quota_usd
    for later in ((), (PriceChange(0.26, "large", factor=1.01),)):
        spent = spent_usd(*later, onboarding_usd=quota_usd)
        assert quota_usd <= spent < quota_usd + 16 * dearest_usd


def test_a_drained_arm_comes_back_and_keeps_its_price_of_the_moment(material: Material) -> None:
    result = play(
        material,
        ArmChange(0.25, "large", "drain"),
        PriceChange(0.5, "large", factor=0.5),
        ArmChange(0.75, "large", "undrain"),
    )
    assert LARGE not in chosen_in(result, 1) | chosen_in(result, 2)
    back = (result.trace.phases == 3) & (result.trace.chosen == LARGE)
    assert back.any()
    recorded = material.log.costs_usd[result.trace.rows, LARGE]
    np.testing.assert_allclose(result.trace.costs_usd[back], 0.5 * recorded[back])


def test_requests_without_any_arm_are_refused(material: Material) -> None:
    result = play(material, *(ArmChange(0.5, arm_id, "remove") for arm_id in ARM_IDS))
    assert chosen_in(result, 1) == {REFUSED}
    assert result.refusals == result.summary()["phases"][1]["n"] == COUNT * 3 // 8


def test_no_tenant_spends_more_than_its_limit_and_each_makes_its_share(material: Material) -> None:
    shares = (TenantShare("acme", 0.75, limit_usd=0.02), TenantShare("beta", 0.25, budget_usd=2e-4))
    result = play(material, policy=POLICIES["default"], tenants=shares)
    trace, reported = result.trace, result.trace.is_reported
    counts = [int((reported & (trace.tenants == tenant)).sum()) for tenant in range(2)]
    spent = [float(trace.costs_usd[reported & (trace.tenants == tenant)].sum()) for tenant in range(2)]
    assert counts[0] / sum(counts) == pytest.approx(0.75, abs=0.1)
    for spend_usd, limit_usd in zip(spent, (0.02, 2e-4 * counts[1]), strict=True):
        assert 0.5 * limit_usd < spend_usd <= limit_usd
    found = {part["tenant_id"]: part for part in result.summary()["tenants"]}
    assert found["acme"]["utilisation"] == pytest.approx(spent[0] / 0.02)
    assert found["beta"]["n"] == counts[1]


def test_tenants_on_one_pool_learn_from_each_other(material: Material) -> None:
    async def steps() -> int:
        shares = (TenantShare("acme", 0.5), TenantShare("beta", 0.5))
        replay = stepping(material, Scenario(tenants=shares))
        await replay.begin()
        await replay.advance(100)
        await replay.services.learner.step("replay")
        return (await replay.services.models.served("replay")).model.version

    assert run(steps()) > 0


@pytest.mark.parametrize("kind", [WindowKind.HOUR, WindowKind.DAY, WindowKind.MONTH])
def test_every_window_has_its_own_limit(material: Material, kind: WindowKind) -> None:
    result = play(material, policy=POLICIES["default"], budget_usd=4e-4, windows=3, window=kind)
    limit_usd, trace = 4e-4 * COUNT * 0.75 / 3, result.trace
    spends = [float(trace.costs_usd[trace.windows == window].sum()) for window in range(3)]
    assert all(0.5 * limit_usd < spend_usd <= limit_usd for spend_usd in spends)
    used = [window["utilisation"] for window in result.summary()["windows"]]
    assert used == pytest.approx([spend_usd / limit_usd for spend_usd in spends])


def test_windows_may_have_different_shares_of_the_money(material: Material) -> None:
    shares = (0.2, 0.5, 0.3)
    result = play(material, policy=POLICIES["default"], budget_usd=4e-4, windows=3, money_by_window=shares)
    trace = result.trace
    spends = [float(trace.costs_usd[trace.windows == window].sum()) for window in range(3)]
    limits_usd = [4e-4 * COUNT * 0.75 * share for share in shares]
    assert all(0.5 * limit_usd < spend <= limit_usd for spend, limit_usd in zip(spends, limits_usd, strict=True))
    used = [window["utilisation"] for window in result.summary()["windows"]]
    assert used == pytest.approx([spend / limit_usd for spend, limit_usd in zip(spends, limits_usd, strict=True)])


def test_what_a_window_leaves_is_carried_over_if_the_scenario_says_so(material: Material) -> None:
    async def limit_nusd(*, carry_over: bool) -> int:
        replay = stepping(material, Scenario(windows=2, carry_over=carry_over, bill_delay=0), budget_usd=1.0)
        await replay.begin()
        await replay.advance(COUNT)
        return (await replay.services.budgets.get("replay")).account.limit_nusd

    plain = COUNT // 2 * NUSD_PER_USD
    assert run(limit_nusd(carry_over=False)) == plain
    assert 1.9 * plain < run(limit_nusd(carry_over=True)) < 2 * plain


def test_demand_that_is_not_declared_is_forecast(material: Material) -> None:
    async def expected_calls(*, declare_demand: bool) -> int:
        replay = stepping(material, Scenario(windows=2, declare_demand=declare_demand))
        await replay.begin()
        return (await replay.services.admin.get_tenant("replay")).resource.expected_calls

    assert run(expected_calls(declare_demand=True)) == COUNT // 2
    assert run(expected_calls(declare_demand=False)) == 0
    result = play(material, policy=POLICIES["default"], budget_usd=4e-4, windows=2, declare_demand=False)
    assert 0.3 < result.summary()["utilisation"] <= 1.0


def test_bills_that_are_late_keep_their_holds_standing(material: Material) -> None:
    async def steps() -> tuple[int, int]:
        replay = stepping(material, Scenario(bill_delay=50), budget_usd=1.0)
        await replay.begin()
        await replay.advance(50)
        before = (await replay.services.budgets.get("replay")).account
        await replay.advance(60)
        after = (await replay.services.budgets.get("replay")).account
        assert before.held_nusd > 0
        return before.spent_nusd, after.spent_nusd

    before_nusd, after_nusd = run(steps())
    assert before_nusd == 0
    assert after_nusd > 0


def test_rewards_come_at_their_rate_and_delay(material: Material) -> None:
    async def rated(**fields: Any) -> int:
        replay = stepping(material, Scenario(**fields), budget_usd=1.0)
        await replay.begin()
        await replay.advance(200)
        entries = await replay.services.store.events.read("replay", {}, 10_000)
        return len(entries) - 200

    assert run(rated(reward_rate=0.0)) == 0
    assert run(rated(reward_delay=30)) == 170
    assert 20 < run(rated(reward_rate=0.2)) < 60


def test_a_traffic_shift_reorders_the_reported_stretch_and_nothing_else(material: Material) -> None:
    sources = tuple(("maths", "code/x", "chat")[index % 3] for index in range(COUNT))
    sorted_by = replace(material, log=replace(material.log, sources=sources))
    trace = play(sorted_by, traffic=(("code/*",), ("maths",))).trace
    learning, reported = stretches(COUNT, seed=5, learn_share=0.25)
    np.testing.assert_array_equal(trace.rows[:60], learning)
    assert sorted(trace.rows[60:].tolist()) == sorted(reported.tolist())
    by_phase = [{sources[row] for row in trace.rows[trace.phases == phase].tolist()} for phase in range(2)]
    assert by_phase == [{"code/x", "chat"}, {"maths", "chat"}]


def test_nothing_but_the_order_differs_between_a_stationary_and_a_shifted_stream_of_one_source(
    material: Material,
) -> None:
    plain, shifted = play(material).trace, play(material, traffic=(("*",),)).trace
    np.testing.assert_array_equal(plain.rows, shifted.rows)
    np.testing.assert_array_equal(plain.chosen, shifted.chosen)


@pytest.mark.parametrize("name", list(NAMED))
def test_every_named_scenario_plays_on_a_log_that_it_does_not_know(material: Material, name: str) -> None:
    sources = tuple(("a", "b", "c*")[index % 3] for index in range(COUNT))
    log = replace(material.log, sources=sources)
    setting = Setting(POLICIES["default"], 5e-4, 0, 0.25, NAMED[name](log))
    result = replay_one(replace(material, log=log), setting)
    phases = result.summary()["phases"]
    assert result.summary()["scenario"] == name
    assert len(phases) == {"stationary": 1, "arm_added": 2, "cheap_arm_added": 2}.get(name, 3)
    assert sum(phase["n"] for phase in phases) == COUNT * 3 // 4


def test_the_named_quality_drop_hits_the_workhorse_only(material: Material) -> None:
    changes = NAMED["quality_drop"](material.log).changes
    assert {change.arm_id for change in changes} == {"medium"}
    assert changes[0] == QualityChange(1 / 3, "medium", level=DROPPED_REWARD)


def test_holds_are_as_the_policy_says(material: Material) -> None:
    async def quotes(hold_policy: str) -> list[tuple[int, int]]:
        replay = stepping(material, Scenario(), policy=replace(UNPACED, hold_policy=hold_policy))
        await replay.begin()
        reply = await rehearsed(replay, material)
        return [(quote.hold_nusd, quote.expected_cost_nusd) for quote in reply.decision.quotes]

    assert all(hold == expected for hold, expected in run(quotes("expected")))
    assert all(hold > expected for hold, expected in run(quotes("worst_case")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([ArmChange(0, "nobody", "drain")], "changes[0].arm_id: 'nobody'"),
        ([ArmChange(0, "small", "remove"), ArmChange(5, "small", "drain")], "not in the pool"),
        ([ArmChange(5, "small", "add"), ArmChange(9, "small", "add")], "is in the pool"),
        ([ArmChange(5, arm_id, "add") for arm_id in ARM_IDS], "from the start"),
        ([PriceChange(COUNT, "small", factor=2.0)], "changes[0].at: 240 is not before the end of the stretch"),
    ],
)
def test_a_scenario_that_does_not_fit_the_log_is_refused(material: Material, changes: list[Change], said: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(said)):
        play(material, *changes)


def test_shares_and_request_numbers_of_one_arm_are_put_in_order_of_time(material: Material) -> None:
    result = play(material, ArmChange(100, "large", "add"), ArmChange(0.25, "large", "remove"), learn_share=0.0)
    assert LARGE in chosen_in(result, 0)
    assert LARGE not in chosen_in(result, 1)


def test_a_default_is_learned_of_answers_that_get_no_reward(material: Material) -> None:
    async def steps(**fields: Any) -> tuple[int, float]:
        replay = stepping(material, Scenario(**fields))
        await replay.begin()
        await replay.advance(COUNT)
        state = await replay.services.store.snapshots.load("replay")
        assert state is not None
        arms = decode_pool_state(state.state).arms.values()
        rewards = sum(arm.reward.count for arm in arms)
        return rewards, sum(float(arm.reward.moment[0]) for arm in arms) / max(1, rewards)

    assert run(steps(reward_rate=0.0)) == (0, 0.0)
    rewards, mean = run(steps(reward_rate=0.0, default_reward=0.25, default_reward_after=40))
    assert COUNT - 40 - 2 * 16 < rewards <= COUNT - 40
    assert mean == pytest.approx(0.25)


def test_rewards_that_come_after_the_default_take_its_place(material: Material) -> None:
    async def steps(after: int) -> list[float]:
        scenario = Scenario(reward_delay=60, default_reward=0.0, default_reward_after=after)
        replay = stepping(material, scenario)
        result = await replay.run()
        await replay.services.learner.step("replay")
        state = await replay.services.store.snapshots.load("replay")
        assert state is not None
        total = sum(float(arm.reward.moment[0]) for arm in decode_pool_state(state.state).arms.values())
        return [total, float(result.trace.rewards.sum())]

    for after in (30, 90):
        learned, earned = run(steps(after))
        assert learned == pytest.approx(earned)


@pytest.mark.parametrize(
    "fields",
    [
        {"default_reward": 0.5},
        {"default_reward_after": 5},
        {"default_reward": 1.5, "default_reward_after": 5},
        {"default_reward": 0.5, "default_reward_after": -5},
    ],
)
def test_a_default_needs_both_a_reward_and_a_time(fields: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="default_reward"):
        Scenario(**fields)


def test_a_default_that_decisions_would_not_live_to_see_is_refused(material: Material) -> None:
    slow = {"window": WindowKind.MONTH, "declare_demand": False}
    with pytest.raises(ScenarioError, match="default_reward_after"):
        play(material, default_reward=0.5, default_reward_after=200, **slow)
