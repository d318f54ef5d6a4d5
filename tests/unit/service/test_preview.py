from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bandit_router.core.errors import ResourceNotFound
from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.service.preview import Previews
from tests.builders import SMALL, make_pool, make_tenant
from tests.unit.service.worlds import World, open_world

LIMITS = [10**7, 10**8, 3 * 10**8, 10**9, 10**12]
REWARDS = {"small": 0.3, "medium": 0.6, "large": 0.9}

LATEST = 10**6  # no account in these worlds is of a later generation


async def taught_world() -> World:
    """A tenant with history in a pool whose dearer arms are better."""
    tenant = make_tenant(limit_nusd=10**12, expected_calls=1000)
    world = await open_world(pool=make_pool(exploration="igw:tau=20"), tenants=[tenant])
    for index in range(60):
        reply = await world.route(f"query {index}", request_id=f"r{index}")
        await world.settle(reply, reward=REWARDS[reply.decision.arm_id])
    await world.services.learner.step("pool")
    return world


async def preview(world: World, limits: list[int]) -> Previews:
    return await world.services.previews.preview("acme", limits)


async def test_more_money_never_promises_less_reward_nor_a_higher_price() -> None:
    previews = (await preview(await taught_world(), LIMITS)).previews
    assert [p.limit_nusd for p in previews] == LIMITS
    assert (np.diff([p.expected_reward for p in previews]) >= -1e-9).all()
    assert (np.diff([p.price_per_usd for p in previews]) <= 0).all()
    assert previews[0].price_per_usd > previews[-1].price_per_usd == 0.0
    assert previews[-1].expected_reward > previews[0].expected_reward + 0.1


async def test_what_is_expected_to_be_spent_is_the_limit_where_money_is_short() -> None:
    for found in (await preview(await taught_world(), [3 * 10**8, 10**9])).previews:
        assert found.expected_calls == 1000
        assert found.expected_cost_usd * 1000 == pytest.approx(found.limit_nusd / 1e9, rel=0.01)


async def test_shares_are_those_of_the_live_arms_and_sum_to_one() -> None:
    world = await taught_world()
    await world.services.admin.put_arm("pool", replace(SMALL, draining=True), etag="", dry_run=False)
    (found,) = (await preview(world, [10**12])).previews
    assert found.arm_shares.keys() == {"medium", "large"}
    assert sum(found.arm_shares.values()) == pytest.approx(1.0)
    assert found.arm_shares["large"] > found.arm_shares["medium"]


async def test_a_preview_says_what_it_was_made_from_and_changes_nothing() -> None:
    world = await taught_world()
    before = world.contents()
    found = await preview(world, [10**8])
    assert (found.snapshot_version, found.contexts) == (1, 60)
    assert world.contents() == before


async def test_without_history_or_arms_there_is_nothing_to_preview() -> None:
    assert (await preview(await open_world(), LIMITS)).previews == ()
    world = await open_world(arms=[SMALL])
    await world.route()
    await world.services.admin.put_arm("pool", replace(SMALL, enabled=False), etag="", dry_run=False)
    assert (await preview(world, LIMITS)).previews == ()


async def test_the_calls_of_an_undeclared_window_are_forecast_from_its_rate() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=10**12, window=WindowRule(WindowKind.HOUR))])
    for index in range(200):
        await world.route(f"query {index}")
    world.clock.jump(1200)
    (found,) = (await preview(world, [10**9])).previews
    assert found.expected_calls == 600


async def test_the_preview_of_an_unknown_tenant_is_not_found() -> None:
    world = await open_world()
    with pytest.raises(ResourceNotFound):
        await world.services.previews.preview("nobody", LIMITS)
    await world.store.ledger.close_account("acme", LATEST)
    with pytest.raises(ResourceNotFound):
        await preview(world, LIMITS)
