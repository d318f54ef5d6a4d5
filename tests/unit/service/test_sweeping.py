from __future__ import annotations

import asyncio

import pytest

from bandit_router.core.outcomes import Billing
from bandit_router.core.resources import ExpiryPolicy
from bandit_router.service import sweeping
from bandit_router.service.messages import Usage
from tests.builders import make_tenant
from tests.unit.service.worlds import open_world, yielding


@pytest.mark.parametrize("policy", list(ExpiryPolicy))
async def test_a_hold_without_usage_is_charged_or_released_at_its_deadline(policy: ExpiryPolicy) -> None:
    world = await open_world(tenants=[make_tenant(expiry_policy=policy)])
    decision = (await world.route()).decision
    world.clock.jump(600)
    assert await world.services.sweeper.sweep() == 1
    account = (await world.budget()).account
    charged_nusd = decision.hold_nusd if policy is ExpiryPolicy.CHARGE else 0
    assert (account.held_nusd, account.spent_nusd, account.in_flight_nusd) == (0, charged_nusd, 0)
    assert (await world.outcome(decision.decision_id)).billing is Billing.EXPIRED
    assert world.observer.counts["decisions_expired"] == 1


async def test_nothing_is_expired_before_its_deadline() -> None:
    world = await open_world()
    await world.route()
    before = world.contents()
    world.clock.jump(599.999)
    assert await world.services.sweeper.sweep() == 0
    assert world.contents() == before


async def test_a_settled_decision_is_never_expired() -> None:
    world = await open_world()
    reply = await world.route()
    settled = await world.settle(reply)
    world.clock.jump(10_000)
    assert await world.services.sweeper.sweep() == 0
    assert (await world.budget()).account == settled.budget.account


async def test_a_reward_alone_does_not_keep_a_hold_from_expiring() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    await world.feedback(decision_id, reward=0.5)
    world.clock.jump(600)
    assert await world.services.sweeper.sweep() == 1
    assert (await world.outcome(decision_id)).reward == 0.5


async def test_an_expired_decision_is_expired_once() -> None:
    world = await open_world()
    await world.route()
    world.clock.jump(600)
    assert [await world.services.sweeper.sweep() for _ in range(3)] == [1, 0, 0]


async def test_many_sweepers_at_once_expire_each_decision_once() -> None:
    world = await open_world(wrap=yielding)
    holds = [(await world.route()).decision.hold_nusd for _ in range(20)]
    other = await world.replica(2, yielding(world.store))
    world.clock.jump(600)
    expired = await asyncio.gather(*(replica.services.sweeper.sweep() for replica in [world, other] * 3))
    assert sum(expired) == 20
    assert (await world.budget()).account.spent_nusd == sum(holds)


async def test_usage_that_races_the_sweeper_is_what_counts() -> None:
    world = await open_world(wrap=yielding)
    decision_ids = [(await world.route()).decision.decision_id for _ in range(10)]
    world.clock.jump(600)
    reports = [world.feedback(decision_id, usage=Usage(cost_nusd=7)) for decision_id in decision_ids]
    await asyncio.gather(world.services.sweeper.sweep(), *reports)
    account = (await world.budget()).account
    assert (account.held_nusd, account.spent_nusd) == (0, 70)


async def test_a_sweep_has_a_limit_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "SWEEP_BATCH", 3)
    world = await open_world()
    for _ in range(7):
        await world.route()
    world.clock.jump(600)
    assert [await world.services.sweeper.sweep() for _ in range(4)] == [3, 3, 1, 0]


async def test_a_decision_without_a_record_is_passed_over() -> None:
    world = await open_world()
    await world.route()
    world.clock.jump(600)
    due = await world.store.ledger.due(world.clock.now_ms(), 10)
    world.store.ledger._records.clear()
    assert await world.services.sweeper._expire(due[0]) is False
