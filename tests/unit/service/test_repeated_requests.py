"""A request id keeps its decision, whatever has become of the pool since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.codec import decode_decision, read_decision
from bandit_router.core.errors import NoFeasibleArm, ResourceNotFound
from tests.builders import LARGE, SMALL
from tests.unit.service.worlds import World, open_world


async def drained_world() -> World:
    world = await open_world(arms=(SMALL, LARGE))
    for arm in (SMALL, LARGE):
        await world.services.admin.put_arm("pool", replace(arm, draining=True), etag="", dry_run=False)
    return world


async def test_a_repeated_request_gets_its_decision_after_all_arms_are_draining() -> None:
    world = await open_world(arms=(SMALL, LARGE))
    first = await world.route(request_id="r1")
    for arm in (SMALL, LARGE):
        await world.services.admin.put_arm("pool", replace(arm, draining=True), etag="", dry_run=False)
    again = await world.route(request_id="r1")
    assert (again.decision, again.propensities) == (first.decision, first.propensities)
    assert again.budget.account == first.budget.account


async def test_a_repeated_request_gets_its_decision_after_an_arm_that_it_allows_is_removed() -> None:
    world = await open_world(arms=(SMALL, LARGE))
    allowed = (SMALL.arm_id, LARGE.arm_id)
    first = await world.route(request_id="r1", allowed_arm_ids=allowed)
    await world.services.admin.remove_arm("pool", LARGE.arm_id, etag="", dry_run=False)
    assert (await world.route(request_id="r1", allowed_arm_ids=allowed)).decision == first.decision


async def test_a_new_request_that_no_arm_may_serve_is_refused_as_ever() -> None:
    world = await drained_world()
    with pytest.raises(NoFeasibleArm):
        await world.route(request_id="never seen")
    with pytest.raises(NoFeasibleArm):
        await world.route()


async def test_an_unknown_tenant_stays_unknown_with_a_request_id() -> None:
    world = await open_world()
    with pytest.raises(ResourceNotFound):
        await world.route(tenant_id="nobody", request_id="r1")


@pytest.mark.parametrize("options", [{}, {"max_output_tokens": 7}, {"allowed_arm_ids": ("small", "large")}])
async def test_the_decision_kept_in_memory_is_the_one_that_its_record_says(options: dict[str, Any]) -> None:
    world = await open_world()
    decision = (await world.route("hello", request_id="r", **options)).decision
    record = await world.store.ledger.find("acme", "r")
    assert record is not None
    assert decode_decision(record.decision) is decision
    assert read_decision(record.decision) == decision
    assert repr(read_decision(record.decision)) == repr(decision)
