"""A store that the second schema's code has written, with all that the first had not: it goes on where it stood.

In it: an organisation with a tenant under it that has capped sessions and alerts; an isolated tenant; a tenant whose
window goes on under another rule; rewards assumed by default (of r0 to r5), one that is yet to be (r10), and open
decisions (r12 to r14). Learned are r0 to r8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bandit_router.adapters.memory import ManualClock, SeededEntropy
from bandit_router.adapters.redis import RedisStore
from bandit_router.core.budget import Account
from bandit_router.core.outcomes import FeedbackStatus
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.ports.catalog import SchemaTooNew
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.messages import FeedbackRequest, RouteReply, RouteRequest, Usage
from tests.contract.test_stored_by_schema_1 import store_filled_from
from tests.unit.service.worlds import Recorder, encoders

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store_schema_2.json"
WRITTEN_MS = 1_900_000_061_150
SEARCH, APART, DAILY = "acme/search", "apart", "daily"


@pytest.fixture
async def store(valkey_url: str) -> Any:
    async with store_filled_from(FIXTURE, valkey_url) as store:
        yield store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(WRITTEN_MS)


@pytest.fixture
async def services(store: RedisStore, clock: ManualClock) -> Services:
    services = assemble(store, clock=clock, entropy=SeededEntropy(2), encoders=encoders, observer=Recorder())
    await services.start()
    return services


async def decided(services: Services, number: int) -> RouteReply:
    """The decision that the request had."""
    tenant_id = (SEARCH, APART, DAILY)[number % 3]
    return await services.route.route(RouteRequest(tenant_id, query="anything else", request_id=f"r{number}"))


async def account(services: Services, tenant_id: str) -> Account:
    found = (await services.budgets.get(tenant_id)).account
    assert found.limit_nusd == found.free_nusd + found.held_nusd + found.spent_nusd
    return found


async def test_code_of_the_first_schema_is_refused(store: RedisStore) -> None:
    await store.catalog.check_schema(SCHEMA_VERSION)
    with pytest.raises(SchemaTooNew, match="schema version 2"):
        await store.catalog.check_schema(1)


async def test_an_open_decision_takes_its_bill_on_every_level(services: Services) -> None:
    before = [await account(services, tenant_id) for tenant_id in (SEARCH, "acme")]
    reply = await decided(services, 12)
    decision = reply.decision
    assert [charge.account_id for charge in decision.charges] == [SEARCH, "acme", SEARCH]
    await services.feedback.feedback(FeedbackRequest(SEARCH, decision.decision_id, usage=Usage(cost_nusd=7)))
    for was, tenant_id in zip(before, (SEARCH, "acme"), strict=True):
        now = await account(services, tenant_id)
        assert now.held_nusd == was.held_nusd - decision.hold_nusd == 0
        assert now.spent_nusd == was.spent_nusd + 7


async def test_a_window_goes_on_under_its_new_rule_with_what_it_has_spent_and_holds(services: Services) -> None:
    before = await account(services, DAILY)
    assert before.decisions == 5
    open_decision, late = (await decided(services, 14)).decision, (await decided(services, 2)).decision
    assert before.held_nusd == open_decision.hold_nusd
    report = FeedbackRequest(DAILY, open_decision.decision_id, usage=Usage(cost_nusd=7))
    await services.feedback.feedback(report)
    corrected = await services.feedback.feedback(
        FeedbackRequest(DAILY, late.decision_id, usage=Usage(cost_nusd=9), correct=True)
    )
    now = await account(services, DAILY)
    assert (now.held_nusd, now.decisions) == (0, 5)
    assert corrected.budget.account == now
    [entry] = await services.budgets.audit(DAILY, after_id="", page_size=10)
    assert entry.edit.reason.startswith("day:")


async def test_a_reward_that_comes_after_its_default_takes_its_place(services: Services) -> None:
    for number in (0, 4):
        decision = (await decided(services, number)).decision
        report = FeedbackRequest(decision.tenant_id, decision.decision_id, reward=0.25)
        assert (await services.feedback.feedback(report)).status is FeedbackStatus.APPLIED
        assert (await services.feedback.feedback(report)).status is FeedbackStatus.DUPLICATE


async def test_a_default_that_was_waited_for_is_assumed_once(services: Services, clock: ManualClock) -> None:
    assert await services.defaults.assume() == 0
    clock.jump(61)
    assert await services.defaults.assume() == 1
    assert await services.defaults.assume() == 0


async def test_learning_goes_on_and_an_isolated_tenants_teaching_stays_its_own(
    services: Services, store: RedisStore
) -> None:
    assert (await services.models.served("pool")).model.version == 1
    shared = (await services.models.served("pool")).model.rewards
    state = decode_pool_state((await store.snapshots.load("pool")).state)
    assert set(state.tenants.isolated.by_tenant) == {APART}
    assert await services.learner.step("pool") == 3
    served = (await services.models.served("pool")).model
    assert (served.version, served.rewards) == (2, shared + 2)
    assert await store.snapshots.letters("pool", after_id="", limit=10) == []
