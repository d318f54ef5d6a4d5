"""Tenants that fail open are answered while the store is away, and everything is in the ledger afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from worlds import World, Wrapped, open_world, with_parts

from bandit_router.core.decision import Reason
from bandit_router.core.errors import DecisionNotFound, StoreAway
from bandit_router.core.resources import HoldPolicy, OutagePolicy
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service import outages
from bandit_router.service.messages import RouteReply, Usage
from bandit_router.service.time_limit import caller_waits
from tests.builders import make_tenant

ALLOWANCE = 10_000_000


class Away(Wrapped):
    """A ledger that can be away, can take a hold and lose the answer, or never answer at all."""

    mode = "here"

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            if self.mode == "away":
                raise StoreUnavailable("gone")
            if self.mode == "hangs":
                await asyncio.Event().wait()
            found = await method(*args, **options)
            if self.mode == "loses answers":
                raise StoreUnavailable("lost")
            return found

        return call


async def world_of(**tenant: Any) -> tuple[World, Away]:
    ledgers: list[Away] = []

    def wrap(memory: Any) -> Any:
        ledgers.append(Away(memory.ledger))
        return with_parts(memory, ledger=ledgers[0])

    fields = {"outage_policy": OutagePolicy.FAIL_OPEN, "outage_allowance_nusd": ALLOWANCE, **tenant}
    world = await open_world(tenants=[make_tenant(**fields), make_tenant("closed")], wrap=wrap)
    await world.route()
    await world.route(tenant_id="closed")
    return world, ledgers[0]


async def test_an_outage_is_bridged_and_written_down_afterwards() -> None:
    world, ledger = await world_of()
    before = await world.budget()
    ledger.mode = "away"
    made = [await world.route(f"q{n}", request_id=f"r{n}") for n in range(3)]
    assert {reply.decision.reason for reply in made} == {Reason.OUTAGE}
    assert all(sum(reply.propensities.values()) == pytest.approx(1.0) for reply in made)
    assert await world.services.outages.reconcile() == 0
    with pytest.raises(StoreAway):
        await world.feedback(made[0].decision.decision_id, reward=1.0)

    ledger.mode = "here"
    with pytest.raises(StoreAway):
        await world.feedback(made[0].decision.decision_id, reward=1.0)
    assert await world.services.outages.reconcile() == 3
    after = await world.budget()
    assert after.account.held_nusd - before.account.held_nusd == sum(reply.decision.hold_nusd for reply in made)
    assert after.account.decisions == before.account.decisions + 3
    for reply in made:
        settled = await world.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=5), reward=1.0)
        assert settled.settled_cost_nusd == 5
    assert (await world.route("q0", request_id="r0")).decision == made[0].decision
    assert (await world.route()).decision.reason is Reason.POLICY
    assert world.observer.events().count("deciding_without_store") == 1
    assert world.observer.events().count("outage_reconciled") == 1


async def test_a_tenant_that_fails_closed_is_refused() -> None:
    world, ledger = await world_of()
    ledger.mode = "away"
    with pytest.raises(StoreAway):
        await world.route(tenant_id="closed")
    ledger.mode = "here"
    with pytest.raises(DecisionNotFound):
        await world.feedback(await unknown_id(world, "closed"), "closed", reward=1.0)


async def test_the_allowance_bounds_what_is_promised_in_the_worst_case() -> None:
    world, ledger = await world_of(hold_policy=HoldPolicy.EXPECTED)
    ledger.mode = "away"
    made = []
    while (reply := await unless_refused(world)) is not None:
        assert reply.decision.hold_nusd > reply.decision.quote.expected_cost_nusd
        made.append(reply.decision)
    promised = sum(decision.hold_nusd for decision in made)
    assert promised <= ALLOWANCE
    assert ALLOWANCE - promised < min(quote.hold_nusd for quote in made[-1].quotes)
    ledger.mode = "here"
    await world.services.outages.reconcile()
    assert (await world.route()).decision.reason is Reason.POLICY


async def test_what_was_promised_beyond_the_budget_is_booked_and_reported() -> None:
    world, ledger = await world_of(limit_nusd=1_000_000)
    ledger.mode = "away"
    made = [await world.route() for _ in range(8)]
    ledger.mode = "here"
    await world.services.outages.reconcile()
    account = (await world.budget()).account
    assert account.free_nusd < 0
    assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
    assert world.observer.counts["outage_overdrawn_nusd"] == -account.free_nusd
    for reply in made:
        await world.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=reply.decision.hold_nusd))
    assert (await world.budget()).account.spent_nusd == sum(reply.decision.hold_nusd for reply in made)


async def test_what_was_promised_beyond_an_organisations_budget_is_reported_too() -> None:
    world, ledger = await world_of()
    await world.services.admin.create_tenant(make_tenant("org", limit_nusd=1_000_000), dry_run=False)
    child = make_tenant(
        "org/open",
        parent_tenant_id="org",
        outage_policy=OutagePolicy.FAIL_OPEN,
        outage_allowance_nusd=ALLOWANCE,
    )
    await world.services.admin.create_tenant(child, dry_run=False)
    await world.route(tenant_id="org/open")
    ledger.mode = "away"
    for _ in range(8):
        await world.route(tenant_id="org/open")
    ledger.mode = "here"
    await world.services.outages.reconcile()
    free_nusd = (await world.budget("org")).account.free_nusd
    assert free_nusd < 0 < (await world.budget("org/open")).account.free_nusd
    assert world.observer.counts["outage_overdrawn_nusd"] == -free_nusd


async def test_a_hold_whose_answer_was_lost_is_not_held_twice() -> None:
    world, ledger = await world_of(outage_allowance_nusd=10**9)
    before = (await world.budget()).account
    ledger.mode = "loses answers"
    reply = await world.route(request_id="lost")
    ledger.mode = "here"
    assert await world.services.outages.reconcile() == 1
    account = (await world.budget()).account
    assert account.decisions == before.decisions + 1
    assert account.held_nusd == before.held_nusd + reply.decision.hold_nusd
    settled = await world.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=1))
    assert settled.settled_cost_nusd == 1


async def test_a_request_that_another_replica_answered_too_counts_twice() -> None:
    world, ledger = await world_of()
    ledger.mode = "away"
    ours = await world.route(request_id="both")
    other = await world.replica(seed=9)
    theirs = await other.route(request_id="both")
    ledger.mode = "here"
    before = (await world.budget()).account
    await world.services.outages.reconcile()
    assert ours.decision.decision_id != theirs.decision.decision_id
    assert (await world.budget()).account.held_nusd == before.held_nusd + ours.decision.hold_nusd
    for reply in (ours, theirs):
        assert (await world.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=2))).settled_cost_nusd == 2


async def test_a_repeated_request_gets_the_decision_that_it_has() -> None:
    world, ledger = await world_of()
    ledger.mode = "away"
    first = await world.route(request_id="same")
    assert (await world.route(request_id="same")).decision == first.decision
    ledger.mode = "here"
    assert (await world.route(request_id="same")).decision == first.decision
    assert await world.services.outages.reconcile() == 1


async def test_the_store_gets_half_of_the_time_that_the_caller_has() -> None:
    world, ledger = await world_of()
    ledger.mode = "hangs"
    with caller_waits(0.2):
        async with asyncio.timeout(5.0):
            reply = await world.route()
    assert reply.decision.reason is Reason.OUTAGE


async def test_the_probabilities_of_a_call_that_meets_the_outage_are_those_of_all_its_draws() -> None:
    world, _ = await world_of()
    *_, second, dearest = sorted(quote.hold_nusd for quote in (await world.route(dry_run=True)).decision.quotes)
    assert second < dearest
    world, ledger = await world_of(budget_policy="none", outage_allowance_nusd=second)
    made = []
    for number in range(120):
        ledger.mode = "away"
        made.append(await world.route(request_id=f"r{number}"))
        ledger.mode = "here"
        await world.services.outages.reconcile()
    assert {reply.decision.reason for reply in made} == {Reason.OUTAGE}
    assert all(reply.propensities == pytest.approx({"small": 0.5, "medium": 0.5}) for reply in made)
    assert 45 <= sum(reply.decision.arm_id == "small" for reply in made) <= 75


async def test_no_more_decisions_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "MAX_WAITING", 2)
    world, ledger = await world_of()
    ledger.mode = "away"
    for _ in range(2):
        await world.route()
    with pytest.raises(StoreAway, match="2 decisions wait"):
        await world.route()


async def test_what_a_replica_takes_with_it_is_told() -> None:
    world, ledger = await world_of()
    ledger.mode = "away"
    reply = await world.route()
    await world.services.outages.close()
    told = dict(world.observer.notes)["outage_decisions_lost"]
    assert told == {"decisions": 1, "held_nusd": reply.decision.hold_nusd}


async def test_the_decisions_of_a_deleted_tenant_go_with_its_money() -> None:
    world, ledger = await world_of()
    ledger.mode = "away"
    await world.route()
    await world.store.ledger.close_account("acme", 10**6)
    ledger.mode = "here"
    assert await world.services.outages.reconcile() == 1
    assert await world.services.outages.reconcile() == 0


async def unless_refused(world: World) -> RouteReply | None:
    try:
        return await world.route()
    except StoreAway as refusal:
        return None if "allowance" in refusal.message else pytest.fail(refusal.message)


async def unknown_id(world: World, tenant_id: str) -> str:
    """An id that could be a decision of the tenant's, but is none."""
    made = await world.route(tenant_id=tenant_id)
    known = made.decision.decision_id
    return known[:-1] + ("b" if known[-1] != "b" else "c")
