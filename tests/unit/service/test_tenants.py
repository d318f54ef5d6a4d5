"""Tenants of one pool through the services: what each is served, and what isolation keeps apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bandit_router.core.codec import decode_decision
from bandit_router.service.messages import RouteReply, Usage
from tests.builders import make_tenant
from tests.unit.service.worlds import World, open_world

RATED = ("small", "medium", "large")


async def two_tenants(**fields: bool) -> World:
    world = await open_world()
    await world.services.admin.create_tenant(make_tenant("zoo", **fields), dry_run=False)
    return world


async def rate(world: World, tenant_id: str, reward: float, *, calls: int = 15) -> list[RouteReply]:
    """Calls that are billed and all rated alike, and then learned."""
    replies = []
    for number in range(calls):
        arm_id = RATED[number % len(RATED)]
        reply = await world.route(f"query {number}", tenant_id, allowed_arm_ids=(arm_id,))
        await settle(world, reply, reward)
        replies.append(reply)
    await world.services.learner.step("pool")
    return replies


async def settle(world: World, reply: RouteReply, reward: float) -> None:
    usage = Usage(input_tokens=100, output_tokens=100)
    await world.feedback(reply.decision.decision_id, reply.decision.tenant_id, usage=usage, reward=reward)


async def expected(world: World, tenant_id: str) -> dict[str, float]:
    """The reward that each arm is expected to bring the tenant."""
    reply = await world.route("asked", tenant_id, dry_run=True)
    return {quote.arm_id: quote.expected_reward for quote in reply.decision.quotes}


async def test_a_tenant_alone_is_served_the_pools_own_model() -> None:
    world = await open_world()
    await rate(world, "acme", 0.5)
    assert await world.services.models.served_to(make_tenant()) is await world.services.models.served("pool")


async def test_tenants_of_opposite_tastes_are_told_what_each_has_seen_itself() -> None:
    world = await two_tenants()
    await rate(world, "acme", 0.9, calls=60)
    await rate(world, "zoo", 0.1, calls=60)
    high, low = await expected(world, "acme"), await expected(world, "zoo")
    for arm_id in RATED:
        assert high[arm_id] - low[arm_id] > 0.5


async def test_a_tenants_model_is_made_once_for_a_snapshot() -> None:
    world = await two_tenants()
    await rate(world, "acme", 0.9)
    await rate(world, "zoo", 0.1)
    models = world.services.models
    first = await models.served_to(make_tenant("zoo"))
    assert await models.served_to(make_tenant("zoo")) is first
    assert first.model.version == (await models.served("pool")).model.version
    await rate(world, "acme", 0.9)
    assert await models.served_to(make_tenant("zoo")) is not first


async def test_an_isolated_tenants_feedback_does_not_reach_the_others() -> None:
    world = await two_tenants(isolated=True)
    await rate(world, "acme", 0.9)
    before = await expected(world, "acme")
    await rate(world, "zoo", 0.0, calls=60)
    assert await expected(world, "acme") == before
    for value in (await expected(world, "zoo")).values():
        assert value < 0.5


async def test_an_isolated_tenant_starts_from_what_the_others_have_taught() -> None:
    world = await two_tenants(isolated=True)
    fresh = await expected(world, "zoo")
    await rate(world, "acme", 1.0, calls=60)
    for arm_id, value in (await expected(world, "zoo")).items():
        assert value > fresh[arm_id] + 0.2


@pytest.mark.parametrize("isolated", [False, True])
async def test_a_reward_is_learned_as_was_in_force_when_its_call_was_decided(isolated: bool) -> None:
    world = await two_tenants(isolated=isolated)
    reply = await world.route("hello", "zoo", allowed_arm_ids=("small",))
    record = await world.store.ledger.read("zoo", reply.decision.decision_id)
    assert record is not None
    assert decode_decision(record.decision).isolated is isolated
    tenant = replace(make_tenant("zoo"), isolated=not isolated)
    await world.services.admin.update_tenant(tenant, etag="", dry_run=False)
    await settle(world, reply, 1.0)
    before = await expected(world, "acme")
    await world.services.learner.step("pool")
    assert (await expected(world, "acme") == before) is isolated
