"""The router in a box that applications test against."""

from __future__ import annotations

import pytest

from bandit_router import Route
from bandit_router.errors import BudgetExhausted
from bandit_router.testing import RouterBox


async def fill(box: RouterBox) -> None:
    await box.router.admin.create_pool("main")
    await box.router.admin.put_arm("main", "small", input_usd_per_mtok="0.1", output_usd_per_mtok="0.4")
    await box.router.admin.put_arm("main", "large", input_usd_per_mtok="2", output_usd_per_mtok="8")
    await box.router.admin.create_tenant("acme", "main", limit_usd="0.1", window={"kind": "hour"}, hold_ttl_s=60)


async def decide(seed: int) -> list[Route]:
    async with RouterBox.open(tenant_id="acme", seed=seed) as box:
        await fill(box)
        return [await box.router.route(f"question {number}", max_output_tokens=10) for number in range(20)]


async def test_the_same_seed_gives_the_same_decisions() -> None:
    assert await decide(1) == await decide(1)
    assert [route.decision_id for route in await decide(1)] != [route.decision_id for route in await decide(2)]


async def test_learning_and_time_move_when_told() -> None:
    async with RouterBox.open(tenant_id="acme") as box:
        await fill(box)
        route = await box.router.route("hello")
        await box.router.feedback(route.decision_id, reward=1.0)
        assert (await box.router.route("hello", dry_run=True)).snapshot_version == 0
        await box.settle()
        assert (await box.router.route("hello", dry_run=True)).snapshot_version == 1
        box.clock.jump(61.0)
        await box.settle()
        assert (await box.router.admin.get_budget("acme")).spent_nusd == route.hold_nusd


async def test_money_runs_out_and_comes_back_with_the_next_window() -> None:
    async with RouterBox.open(tenant_id="acme") as box:
        await fill(box)
        await box.router.admin.set_budget_limit("acme", limit_nusd=1)
        with pytest.raises(BudgetExhausted) as exhausted:
            await box.router.route("hello")
        assert exhausted.value.retry_after_s is not None
        await box.router.admin.set_budget_limit("acme", limit_usd=1)
        box.clock.jump(exhausted.value.retry_after_s)
        assert (await box.router.route("hello")).decision_id
