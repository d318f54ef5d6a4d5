"""Arms that are added at run time, with and without money to be spent on trying them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import LARGE, SMALL, make_pool, make_tenant
from tests.unit.service.worlds import World, open_world

CALLS = 150
TENANT = make_tenant(limit_nusd=10**9, expected_calls=1000)
REWARDS = {"small": 0.8, "large": 0.3}


async def served(world: World, count: int, *, prefix: str) -> list[tuple[str, int]]:
    """The arms of so many calls, each billed, rewarded and learned before the next, and their bills."""
    calls = []
    for index in range(count):
        reply = await world.route(f"{prefix} {index}", prompt_tokens=500)
        arm_id = reply.decision.arm_id
        settled = await world.settle(reply, output_tokens=200, reward=REWARDS[arm_id])
        calls.append((arm_id, settled.settled_cost_nusd))
        await world.services.learner.step("pool")
        await world.services.models.refresh("pool")
    return calls


async def spent_on_a_new_arm(onboarding_nusd: int) -> int:
    """Nano-USD that a dear arm gets within 150 calls of its coming to a pool that knows a cheap one."""
    world = await open_world(arms=[SMALL], pool=make_pool(), tenants=[TENANT])
    await served(world, 60, prefix="before")
    arm = replace(LARGE, onboarding_nusd=onboarding_nusd)
    await world.services.admin.put_arm("pool", arm, etag="", dry_run=False)
    return sum(cost for arm_id, cost in await served(world, CALLS, prefix="after") if arm_id == "large")


ONE_CALL = LARGE.prices.cost_nusd(input_tokens=500, output_tokens=200)


@pytest.mark.parametrize("calls", [5, 20])
async def test_a_quota_is_spent_on_a_new_arm_and_little_more(calls: int) -> None:
    spent_nusd = await spent_on_a_new_arm(calls * ONE_CALL)
    unasked = await spent_on_a_new_arm(0)
    assert calls * ONE_CALL <= spent_nusd <= calls * ONE_CALL + max(unasked, 3 * ONE_CALL)
    assert unasked < 5 * ONE_CALL


async def test_while_an_arm_is_new_its_choices_have_exact_probabilities_and_a_price() -> None:
    pool = make_pool(exploration="igw:tau=1000000")
    world = await open_world(arms=[SMALL], pool=pool, tenants=[TENANT])
    await served(world, 40, prefix="before")
    plain = (await world.route("q", prompt_tokens=500)).decision.price_per_usd
    await world.services.admin.put_arm("pool", replace(LARGE, onboarding_nusd=10**9), etag="", dry_run=False)
    reply = await world.route("q", prompt_tokens=500)
    assert reply.propensities == pytest.approx({"small": 0.5, "large": 0.5})
    assert reply.decision.price_per_usd > plain == 0.0
