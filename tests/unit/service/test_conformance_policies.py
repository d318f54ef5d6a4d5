"""Every learner under every exploration layer and budget policy, through the services."""

from __future__ import annotations

from itertools import product

import pytest

from bandit_router.core.budget_policies.registry import BUDGET_POLICIES
from bandit_router.core.explorations.registry import EXPLORATIONS
from bandit_router.core.learners.registry import LEARNERS
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.pool_state import PoolState
from tests.builders import make_pool, make_tenant
from tests.unit.service.worlds import World, open_world

COMBINATIONS = list(product(LEARNERS, EXPLORATIONS, BUDGET_POLICIES))
CALLS = 36
RESTART_AT = 17
LIMIT_NUSD = 6 * 10**8
"""Fifteen of the dearest holds: late draws find arms that do not fit."""

Served = list[tuple[str, float, dict[str, float]]]


async def world_of(learner: str, exploration: str, budget_policy: str) -> World:
    tenant = make_tenant(limit_nusd=LIMIT_NUSD, expected_calls=CALLS, budget_policy=budget_policy)
    return await open_world(pool=make_pool(learner=learner, exploration=exploration), tenants=[tenant])


async def serve(world: World, first: int, last: int) -> Served:
    """Decisions for consecutive request ids; every second one is settled, and learned from, at once."""
    found = []
    for number in range(first, last):
        reply = await world.route(f"query {number}", request_id=f"r{number}")
        propensities = dict(reply.propensities)
        assert sum(propensities.values()) == pytest.approx(1.0, abs=1e-12)
        assert propensities[reply.decision.arm_id] > 0.0
        assert reply.budget.account.free_nusd >= 0
        found.append((reply.decision.arm_id, reply.decision.price_per_usd, propensities))
        if number % 2:
            await world.settle(reply, output_tokens=50 + 7 * number, reward=0.5 + 0.1 * (number % 4))
            await world.services.learner.step("pool")
    return found


@pytest.mark.parametrize(("learner", "exploration", "budget_policy"), COMBINATIONS)
async def test_decisions_have_exact_propensities_and_survive_a_restart(
    learner: str, exploration: str, budget_policy: str
) -> None:
    whole = await serve(await world_of(learner, exploration, budget_policy), 0, CALLS)
    world = await world_of(learner, exploration, budget_policy)
    before = await serve(world, 0, RESTART_AT)
    await world.services.close()
    after = await serve(await world.replica(seed=99), RESTART_AT, CALLS)
    assert before + after == whole


@pytest.mark.parametrize("learner", LEARNERS)
async def test_a_pool_may_change_its_learner_and_go_on_from_all_it_has_seen(learner: str) -> None:
    world = await world_of("linucb", "igw", "replan")
    await serve(world, 0, 20)
    pool = (await world.services.admin.get_pool("pool")).resource
    changed = make_pool(learner=learner, exploration="softmax:temperature=0.1", seed=pool.seed)
    await world.services.admin.update_pool(changed, etag="", dry_run=False)
    found = await serve(world, 20, CALLS)
    assert len(found) == CALLS - 20
    served = await world.services.models.served("pool")
    assert sum(arm.settled for arm in (await state_of(world)).arms.values()) == CALLS // 2
    assert served.policy_prefix == f"{learner}/softmax:temperature=0.1"


async def state_of(world: World) -> PoolState:
    snapshot = await world.store.snapshots.load("pool")
    assert snapshot is not None
    return decode_pool_state(snapshot.state)
