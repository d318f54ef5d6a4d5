from __future__ import annotations

import asyncio

import pytest

from bandit_router.adapters.grpc.wire_events import event
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.outcomes import FeedbackStatus, Outcome, OutcomeKind, RewardSource
from bandit_router.core.pool_state import learn
from bandit_router.service import defaults
from bandit_router.service.models import empty_state
from bandit_router.v1 import events_pb2 as pb
from tests.builders import make_pool
from tests.unit.service.test_learning import assert_learned_exactly_once, stored_state
from tests.unit.service.worlds import World, open_world, yielding

DEADLINE_S = 60.0
POOL = make_pool(default_reward=0.25, default_reward_deadline_s=DEADLINE_S)


async def settled(world: World, query: str = "hello", **options: object) -> str:
    """A billed decision without a reward."""
    reply = await world.route(query, **options)
    await world.settle(reply)
    return reply.decision.decision_id


async def reward_of(world: World, decision_id: str) -> tuple[float | None, RewardSource]:
    outcome = await world.outcome(decision_id)
    return outcome.reward, outcome.reward_source


async def events_of(world: World) -> list[pb.Event]:
    return [event(entry) for entry in await world.store.events.read("pool", {}, 10**6)]


async def test_a_default_is_assumed_at_its_deadline_and_not_before() -> None:
    world = await open_world(pool=POOL)
    decision_id = await settled(world)
    world.clock.jump(DEADLINE_S - 0.001)
    assert await world.services.defaults.assume() == 0
    world.clock.jump(0.001)
    assert await world.services.defaults.assume() == 1
    assert await reward_of(world, decision_id) == (0.25, RewardSource.DEFAULT)
    assert await world.services.defaults.assume() == 0


async def test_missing_stays_missing_in_a_pool_without_a_default() -> None:
    world = await open_world()
    decision_id = await settled(world)
    world.clock.jump(10 * DEADLINE_S)
    assert await world.services.defaults.assume() == 0
    assert await reward_of(world, decision_id) == (None, RewardSource.CALLER)


async def test_nothing_is_assumed_of_calls_that_brought_no_answer() -> None:
    world = await open_world(pool=POOL)
    unreported = (await world.route()).decision.decision_id
    cancelled = (await world.route()).decision.decision_id
    await world.feedback(cancelled, outcome=OutcomeKind.CANCELLED)
    rewarded = await settled(world)
    await world.feedback(rewarded, reward=1.0)
    withdrawn = await settled(world)
    await world.feedback(withdrawn, reward=1.0)
    await world.feedback(withdrawn, retract=True)
    world.clock.jump(1_000)
    await world.services.sweeper.sweep()
    assert await world.services.defaults.assume() == 0
    for decision_id in (unreported, cancelled, withdrawn):
        assert (await world.outcome(decision_id)).reward is None
    assert await reward_of(world, rewarded) == (1.0, RewardSource.CALLER)


async def test_usage_that_comes_after_the_deadline_is_followed_by_the_default() -> None:
    world = await open_world(pool=POOL)
    reply = await world.route()
    world.clock.jump(2 * DEADLINE_S)
    assert await world.services.defaults.assume() == 0
    await world.settle(reply)
    assert await world.services.defaults.assume() == 1


async def test_a_late_reward_replaces_the_default_as_if_it_had_never_been_assumed() -> None:
    world = await open_world(pool=POOL)
    decision_ids = [await settled(world, f"query {number}") for number in range(8)]
    world.clock.jump(DEADLINE_S)
    assert await world.services.defaults.assume() == 8
    await world.services.learner.step("pool")
    for number, decision_id in enumerate(decision_ids):
        assert (await world.feedback(decision_id, reward=number / 8)).status is FeedbackStatus.APPLIED
    await world.services.learner.step("pool")
    state = await stored_state(world)
    expected = empty_state(await world.services.directory.pool("pool"))
    for decision_id in decision_ids:
        record = await world.store.ledger.read("acme", decision_id)
        assert record is not None
        outcome = decode_outcome(record.outcome)
        fresh = Outcome(outcome.hold_nusd, outcome.expected_cost_nusd, expiry_charges=outcome.expiry_charges)
        learn(expected, decode_decision(record.decision), fresh, outcome)
    assert state.arms.keys() == expected.arms.keys()
    for arm_id, arm in expected.arms.items():
        assert state.arms[arm_id].reward.count == arm.reward.count
        assert state.arms[arm_id].reward.gram == pytest.approx(arm.reward.gram)
        assert state.arms[arm_id].reward.moment == pytest.approx(arm.reward.moment)
        assert state.arms[arm_id].reward.square == pytest.approx(arm.reward.square)


async def test_defaults_are_learned_exactly_once_from_the_log() -> None:
    world = await open_world(pool=POOL)
    for number in range(12):
        decision_id = await settled(world, f"query {number}")
        if number % 3 == 0:
            await world.feedback(decision_id, reward=1.0)
    world.clock.jump(DEADLINE_S)
    assert await world.services.defaults.assume() == 8
    await world.services.learner.step("pool")
    await assert_learned_exactly_once(world)
    state = await stored_state(world)
    assert sum(arm.reward.count for arm in state.arms.values()) == 12
    assert sum(arm.reward.moment[0] for arm in state.arms.values()) == pytest.approx(4 * 1.0 + 8 * 0.25)


async def test_many_replicas_at_once_and_rewards_that_race_them_assume_each_default_once() -> None:
    world = await open_world(pool=POOL, wrap=yielding)
    other = await world.replica(2, yielding(world.store))
    decision_ids = [await settled(world, f"query {number}") for number in range(20)]
    world.clock.jump(DEADLINE_S)
    reports = [world.feedback(decision_id, reward=1.0) for decision_id in decision_ids[:10]]
    found = await asyncio.gather(
        *(replica.services.defaults.assume() for replica in [world, other] * 3), *reports, return_exceptions=True
    )
    assert not [fault for fault in found if isinstance(fault, BaseException)]
    told = await events_of(world)
    defaulted = [e.decision_id for e in told if pb.EVENT_CHANGE_DEFAULTED in e.changes]
    assert len(defaulted) == len(set(defaulted)) == sum(count for count in found if isinstance(count, int))
    assert set(decision_ids[10:]) <= set(defaulted)
    for number, decision_id in enumerate(decision_ids):
        expected = (1.0, RewardSource.CALLER) if number < 10 else (0.25, RewardSource.DEFAULT)
        assert await reward_of(world, decision_id) == expected
    await world.services.learner.step("pool")
    await assert_learned_exactly_once(world)


async def test_decisions_keep_the_terms_that_they_were_made_under() -> None:
    world = await open_world(pool=POOL)
    first = await settled(world)
    changed = make_pool(default_reward=0.75, default_reward_deadline_s=2 * DEADLINE_S)
    await world.services.admin.update_pool(changed, etag="", dry_run=False)
    second = await settled(world)
    await world.services.admin.update_pool(make_pool(), etag="", dry_run=False)
    third = await settled(world)
    world.clock.jump(2 * DEADLINE_S)
    assert await world.services.defaults.assume() == 2
    found = [(await world.outcome(decision_id)).reward for decision_id in (first, second, third)]
    assert found == [0.25, 0.75, None]


async def test_the_log_tells_a_default_from_a_reward() -> None:
    world = await open_world(pool=POOL)
    decision_id = await settled(world)
    world.clock.jump(DEADLINE_S)
    await world.services.defaults.assume()
    await world.feedback(decision_id, latency_ms=7)
    await world.feedback(decision_id, reward=0.25)
    told = [(list(e.changes), e.reward_defaulted, e.correction) for e in await events_of(world)]
    assert told[1:] == [
        ([pb.EVENT_CHANGE_DEFAULTED], True, False),
        ([pb.EVENT_CHANGE_DETAILED], True, False),
        ([pb.EVENT_CHANGE_REWARDED], False, False),
    ]


async def test_a_default_leaves_the_money_alone() -> None:
    world = await open_world(pool=POOL)
    await settled(world)
    before = (await world.budget()).account
    world.clock.jump(DEADLINE_S)
    await world.services.defaults.assume()
    assert (await world.budget()).account == before


async def test_one_call_has_a_limit_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "ASSUME_BATCH", 3)
    world = await open_world(pool=POOL)
    for _ in range(7):
        await settled(world)
    world.clock.jump(DEADLINE_S)
    assert [await world.services.defaults.assume() for _ in range(4)] == [3, 3, 1, 0]


async def test_what_has_no_record_or_needs_no_default_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that a commit has not taken out: of records that are gone, or written by code that knows no defaults."""
    monkeypatch.setattr(defaults, "ASSUME_BATCH", 2)
    world = await open_world(pool=POOL)
    gone, rewarded, lacking = [await settled(world) for _ in range(3)]
    await world.feedback(rewarded, reward=1.0)
    world.store.ledger._defaults.put(("acme", rewarded), world.clock.now_ms())
    del world.store.ledger._records["acme", gone]
    world.clock.jump(DEADLINE_S)
    assert await world.services.defaults.assume() + await world.services.defaults.assume() == 1
    assert (await world.outcome(lacking)).reward == 0.25
    assert await world.store.ledger.defaults_due(world.clock.now_ms(), 10) == []


async def test_how_many_answers_get_no_reward_is_counted_by_arm() -> None:
    world = await open_world(pool=POOL)
    for number in range(6):
        decision_id = await settled(world, f"query {number}")
        if number < 2:
            await world.feedback(decision_id, reward=1.0)
        if number < 1:
            await world.feedback(decision_id, retract=True)
    world.clock.jump(DEADLINE_S)
    await world.services.defaults.assume()
    await world.services.learner.step("pool")
    counts = world.observer.counts
    names = ("answers_billed", "rewards_reported", "rewards_withdrawn", "rewards_defaulted")
    assert [counts[name] for name in names] == [6, 2, 1, 4]
