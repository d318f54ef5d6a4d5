"""Calls that were cut short, and what repeating them does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.errors import AlreadyExists, NoFeasibleArm, StoreAway
from bandit_router.ports.ledger import StoreUnavailable
from tests.builders import LARGE, MEDIUM, SMALL, make_tenant
from tests.unit.service.worlds import World, Wrapped, open_world, with_parts


class Flaky(Wrapped):
    """Methods named in `broken` fail, before or after they have taken effect; `called` are those that came through."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.broken: dict[str, str] = {}
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            when = self.broken.get(name)
            if when == "before":
                raise StoreUnavailable("gone")
            self.called.append(name)
            answer = await method(*args, **options)
            if when == "after":
                raise StoreUnavailable("gone")
            return answer

        return call


async def open_flaky() -> tuple[World, World, Flaky]:
    """A world, and a second replica of it whose ledger may fail."""
    world = await open_world()
    ledger = Flaky(world.store.ledger)
    return world, await world.replica(seed=2, store=with_parts(world.store, ledger=ledger)), ledger


async def disable_all(world: World) -> None:
    for arm in (SMALL, MEDIUM, LARGE):
        await world.services.admin.put_arm("pool", replace(arm, enabled=False), etag="", dry_run=False)


async def test_a_retried_request_gets_its_decision_after_all_arms_were_switched_off() -> None:
    world = await open_world()
    first = await world.route(request_id="q1")
    await disable_all(world)
    again = await world.route(request_id="q1")
    assert (again.decision, again.propensities) == (first.decision, first.propensities)
    with pytest.raises(NoFeasibleArm):
        await world.route(request_id="q2")


async def test_a_retry_is_not_refused_while_nobody_can_tell_whether_it_has_a_decision() -> None:
    world, other, ledger = await open_flaky()
    first = await world.route(request_id="q1")
    await disable_all(other)
    ledger.broken = {"find": "before"}
    with pytest.raises(StoreAway):
        await other.route(request_id="q1")
    ledger.broken = {}
    assert (await other.route(request_id="q1")).decision == first.decision


@pytest.mark.parametrize("when", ["before", "after"])
async def test_creating_a_tenant_again_completes_what_was_cut_short(when: str) -> None:
    world, other, ledger = await open_flaky()
    ledger.broken = {"open_account": when}
    with pytest.raises(StoreUnavailable):
        await other.services.admin.create_tenant(make_tenant("new", limit_nusd=7), dry_run=False)
    ledger.broken = {}
    with pytest.raises(AlreadyExists):
        await other.services.admin.create_tenant(make_tenant("new", limit_nusd=8), dry_run=False)
    assert (await world.budget("new")).account.limit_nusd == 7


async def test_what_a_deletion_cut_short_has_left_is_not_inherited() -> None:
    world, other, ledger = await open_flaky()
    await world.route()
    ledger.broken = {"close_account": "before"}
    with pytest.raises(StoreUnavailable):
        await other.services.admin.delete_tenant("acme", etag="", dry_run=False)
    await world.services.admin.create_tenant(make_tenant(limit_nusd=5), dry_run=False)
    account = (await world.budget()).account
    assert (account.limit_nusd, account.decisions) == (5, 0)


async def test_creating_a_tenant_sends_nothing_that_could_close_its_account_if_it_came_late() -> None:
    _, other, ledger = await open_flaky()
    await other.services.admin.create_tenant(make_tenant("new"), dry_run=False)
    assert "open_account" in ledger.called
    assert "close_account" not in ledger.called
