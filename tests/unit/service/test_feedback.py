from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import Any

import pytest

from bandit_router.core.codec import decode_outcome
from bandit_router.core.errors import (
    DecisionExpired,
    DecisionNotFound,
    InvalidRequest,
    ResourceNotFound,
    RouterError,
    StoreAway,
)
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Billing, FeedbackStatus, OutcomeKind
from bandit_router.core.partition import partition_of
from bandit_router.core.resources import ExpiryPolicy, WindowKind, WindowRule
from bandit_router.ports.ledger import BudgetState, OutcomeCommit, StoreUnavailable
from bandit_router.service.feedback import MAX_COMMITS, MAX_IDEMPOTENCY_KEYS
from bandit_router.service.messages import FeedbackRequest, Usage
from bandit_router.service.route import KEEP_RECORDS_MS
from tests.builders import SMALL, make_arm, make_prices, make_tenant
from tests.unit.service.worlds import Wrapped, open_world, with_parts, yielding

APPLIED, DUPLICATE, CORRECTED = FeedbackStatus.APPLIED, FeedbackStatus.DUPLICATE, FeedbackStatus.CORRECTED
USAGE = Usage(input_tokens=10, output_tokens=100)

LATEST = 10**6  # no account in these worlds is of a later generation


async def test_usage_settles_the_hold_at_the_decisions_prices() -> None:
    world = await open_world()
    decision = (await world.route()).decision
    reply = await world.feedback(decision.decision_id, usage=USAGE)
    cost_nusd = decision.prices.cost_nusd(input_tokens=10, output_tokens=100)
    assert (reply.status, reply.settled_cost_nusd) == (APPLIED, cost_nusd)
    assert reply.released_nusd == decision.hold_nusd - cost_nusd
    account = reply.budget.account
    assert (account.spent_nusd, account.held_nusd, account.in_flight_nusd) == (cost_nusd, 0, 0)
    assert account == (await world.budget()).account


async def test_an_exact_cost_wins_over_tokens_times_price() -> None:
    world = await open_world()
    decision = (await world.route()).decision
    reply = await world.feedback(decision.decision_id, usage=Usage(10, 100, cost_nusd=123))
    assert reply.settled_cost_nusd == 123


async def test_cached_tokens_are_billed_at_their_own_price() -> None:
    world = await open_world()
    decision = (await world.route()).decision
    reply = await world.feedback(decision.decision_id, usage=Usage(100, 10, cached_input_tokens=60))
    assert reply.settled_cost_nusd == decision.prices.cost_nusd(
        input_tokens=100, output_tokens=10, cached_input_tokens=60
    )


async def test_a_price_change_does_not_touch_decisions_already_made() -> None:
    world = await open_world(arms=[SMALL])
    decision = (await world.route()).decision
    dearer = make_arm("small", prices=make_prices(100, 400))
    await world.services.admin.put_arm("pool", dearer, etag="", dry_run=False)
    reply = await world.feedback(decision.decision_id, usage=USAGE)
    assert reply.settled_cost_nusd == SMALL.prices.cost_nusd(input_tokens=10, output_tokens=100)


async def test_a_reward_alone_leaves_the_hold_standing() -> None:
    world = await open_world()
    decision = (await world.route()).decision
    reply = await world.feedback(decision.decision_id, reward=0.5)
    assert (reply.status, reply.settled_cost_nusd, reply.released_nusd) == (APPLIED, 0, 0)
    assert reply.budget.account.held_nusd == decision.hold_nusd


@pytest.mark.parametrize("usage_first", [True, False])
async def test_usage_and_reward_come_apart_in_either_order_from_any_replica(usage_first: bool) -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    decision_id = (await world.route()).decision.decision_id
    parts: list[dict[str, Any]] = [{"usage": USAGE}, {"reward": 0.5}]
    first, second = parts if usage_first else parts[::-1]
    assert (await world.feedback(decision_id, **first)).status is APPLIED
    assert (await other.feedback(decision_id, **second)).status is APPLIED
    outcome = await world.outcome(decision_id)
    assert (outcome.billing, outcome.reward) == (Billing.BILLED, 0.5)


async def test_a_repeated_report_is_a_duplicate_and_leaves_the_store_as_it_is() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    first = await world.feedback(decision_id, usage=USAGE, reward=0.5)
    before = world.contents()
    again = await world.feedback(decision_id, usage=Usage(1, 1), reward=0.9)
    assert again.status is DUPLICATE
    assert (again.settled_cost_nusd, again.budget.account) == (first.settled_cost_nusd, first.budget.account)
    assert world.contents() == before


async def test_corrections_leave_the_money_as_if_only_the_last_bill_had_come() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    await world.feedback(decision_id, usage=Usage(cost_nusd=500), reward=0.1)
    for cost_nusd in (10**9, 7, 300):
        reply = await world.feedback(decision_id, usage=Usage(cost_nusd=cost_nusd), reward=0.9, correct=True)
        assert reply.status is CORRECTED
    account = (await world.budget()).account
    assert (account.spent_nusd, account.held_nusd, account.overrun_nusd) == (300, 0, 293)  # 7 were left of the hold
    assert (await world.outcome(decision_id)).reward == 0.9


async def test_a_retracted_reward_is_gone() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    await world.feedback(decision_id, reward=0.9)
    assert (await world.feedback(decision_id, retract=True)).status is CORRECTED
    assert (await world.outcome(decision_id)).reward is None


@pytest.mark.parametrize("kind", [OutcomeKind.CANCELLED, OutcomeKind.FAILED])
async def test_a_call_that_came_to_nothing_releases_its_hold(kind: OutcomeKind) -> None:
    world = await open_world()
    decision = (await world.route()).decision
    reply = await world.feedback(decision.decision_id, outcome=kind)
    assert (reply.settled_cost_nusd, reply.released_nusd) == (0, decision.hold_nusd)
    assert reply.budget.account.free_nusd == reply.budget.account.limit_nusd


async def test_a_failed_call_with_usage_is_billed() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    reply = await world.feedback(decision_id, usage=Usage(cost_nusd=5), outcome=OutcomeKind.FAILED)
    assert reply.settled_cost_nusd == 5


async def test_a_bill_above_the_hold_is_booked_in_full_as_overrun() -> None:
    world = await open_world()
    decision = (await world.route()).decision
    reply = await world.feedback(decision.decision_id, usage=Usage(cost_nusd=decision.hold_nusd + 9))
    assert (reply.budget.account.overrun_nusd, reply.released_nusd) == (9, 0)


@pytest.mark.parametrize("policy", list(ExpiryPolicy))
async def test_a_late_bill_replaces_what_expiry_did(policy: ExpiryPolicy) -> None:
    world = await open_world(tenants=[make_tenant(expiry_policy=policy)])
    decision_id = (await world.route()).decision.decision_id
    world.clock.jump(601)
    assert await world.services.sweeper.sweep() == 1
    reply = await world.feedback(decision_id, usage=Usage(cost_nusd=77))
    assert reply.status is APPLIED
    assert (reply.budget.account.spent_nusd, reply.budget.account.held_nusd) == (77, 0)


async def test_a_late_bill_is_charged_to_the_window_of_its_decision() -> None:
    world = await open_world(tenants=[make_tenant(window=WindowRule(WindowKind.HOUR))])
    decision = (await world.route()).decision
    world.clock.jump(3600)
    later = await world.route()
    reply = await world.feedback(decision.decision_id, usage=Usage(cost_nusd=77))
    assert reply.budget.window.start_ms == decision.window_start_ms
    assert reply.budget.account.spent_nusd == 77
    assert (await world.budget()).account == later.budget.account


async def test_latency_and_metrics_are_kept() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    await world.feedback(decision_id, latency_ms=12, metrics={"b": 2.0, "a": 1.0})
    outcome = await world.outcome(decision_id)
    assert (outcome.latency_ms, outcome.metrics) == (12, (("a", 1.0), ("b", 2.0)))


@pytest.mark.parametrize(
    ("report", "field"),
    [
        ({"reward": math.nan}, "reward"),
        ({"reward": math.inf}, "reward"),
        ({"reward": -0.01}, "reward"),
        ({"reward": 1.01}, "reward"),
        ({"reward": 0.5, "retract": True}, "retract"),
        ({"metrics": {"ttft": math.nan}}, "metrics[ttft]"),
        ({"metrics": {"ttft": math.inf}}, "metrics[ttft]"),
        ({"usage": Usage(input_tokens=-1)}, "usage.input_tokens"),
        ({"usage": Usage(output_tokens=-1)}, "usage.output_tokens"),
        ({"usage": Usage(cost_nusd=-1)}, "usage.cost_nusd"),
        ({"usage": Usage(cost_nusd=MAX_LIMIT_NUSD + 1)}, "usage.cost_nusd"),
        ({"usage": Usage(input_tokens=5, cached_input_tokens=6)}, "usage.cached_input_tokens"),
        ({"usage": Usage(input_tokens=MAX_LIMIT_NUSD, output_tokens=MAX_LIMIT_NUSD)}, "usage"),
    ],
)
async def test_poisoned_reports_are_refused_and_the_store_untouched(report: dict[str, Any], field: str) -> None:
    world = await open_world(arms=[make_arm("dear", prices=make_prices(10, 10))])
    decision_id = (await world.route()).decision.decision_id
    before = world.contents()
    with pytest.raises(InvalidRequest) as refusal:
        await world.feedback(decision_id, **report)
    assert refusal.value.violations[0].field == field
    assert world.contents() == before


async def test_a_report_names_all_its_faults_at_once() -> None:
    world = await open_world()
    with pytest.raises(InvalidRequest) as refusal:
        await world.feedback("any", reward=2.0, usage=Usage(output_tokens=-1))
    assert len(refusal.value.violations) == 2


@pytest.mark.parametrize("decision_id", ["", "nonsense", "p99-000000000000-aaaaaaaaaaaaaaaaaaaaaaaaaa"])
async def test_what_is_no_decision_id_is_not_found(decision_id: str) -> None:
    with pytest.raises(DecisionNotFound):
        await (await open_world()).feedback(decision_id, reward=0.5)


async def test_a_decision_belongs_to_its_tenant_alone() -> None:
    same_partition = next(t for i in range(1000) if (t := f"t{i}") and partition_of(t) == partition_of("acme"))
    for other in ("other", same_partition):
        world = await open_world(tenants=[make_tenant("acme"), make_tenant(other)])
        decision_id = (await world.route()).decision.decision_id
        with pytest.raises(DecisionNotFound):
            await world.feedback(decision_id, tenant_id=other, reward=0.5)


async def test_a_tenant_that_does_not_exist_is_not_found() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    with pytest.raises(ResourceNotFound):
        await world.feedback(decision_id, tenant_id="nobody", reward=0.5)


async def test_a_decision_is_kept_for_late_feedback_and_then_expired() -> None:
    world = await open_world()
    reply = await world.route()
    await world.settle(reply)
    keep_s = KEEP_RECORDS_MS / 1000
    world.clock.jump(600 + keep_s - 1)
    assert (await world.feedback(reply.decision.decision_id, reward=0.5)).status is APPLIED
    world.clock.jump(2)
    with pytest.raises(DecisionExpired):
        await world.feedback(reply.decision.decision_id, reward=0.5, correct=True)


async def test_an_idempotency_key_makes_a_repeated_correction_a_duplicate() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    report: dict[str, Any] = {"reward": 0.5, "correct": True, "idempotency_key": "k"}
    assert (await world.feedback(decision_id, **report)).status is APPLIED
    assert (await world.feedback(decision_id, reward=0.1, correct=True)).status is CORRECTED
    assert (await world.feedback(decision_id, **report)).status is DUPLICATE
    assert (await world.outcome(decision_id)).reward == 0.1


async def test_a_decision_takes_a_limited_number_of_idempotency_keys() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    for index in range(MAX_IDEMPOTENCY_KEYS):
        await world.feedback(decision_id, reward=0.5, correct=True, idempotency_key=f"k{index}")
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        await world.feedback(decision_id, reward=0.5, correct=True, idempotency_key="one more")


class Contended(Wrapped):
    """Other reports keep coming in between: the first `lost` commits fail."""

    lost = 0
    tries = 0

    async def commit(self, commit: OutcomeCommit) -> BudgetState | None:
        self.tries += 1
        return None if self.tries <= self.lost else await self.inner.commit(commit)


@pytest.mark.parametrize("lost", [1, MAX_COMMITS - 1])
async def test_a_report_that_loses_a_race_is_decided_again(lost: int) -> None:
    world = await open_world()
    ledger = Contended(world.store.ledger)
    ledger.lost = lost
    replica = await world.replica(2, with_parts(world.store, ledger=ledger))
    decision_id = (await world.route()).decision.decision_id
    assert (await replica.feedback(decision_id, reward=0.5)).status is APPLIED
    assert ledger.tries == lost + 1


async def test_a_report_that_loses_every_race_asks_to_be_repeated() -> None:
    world = await open_world()
    ledger = Contended(world.store.ledger)
    ledger.lost = 10**6
    replica = await world.replica(2, with_parts(world.store, ledger=ledger))
    decision_id = (await world.route()).decision.decision_id
    with pytest.raises(StoreAway):
        await replica.feedback(decision_id, reward=0.5)
    assert ledger.tries == MAX_COMMITS


async def test_of_many_reports_at_once_each_value_is_taken_once() -> None:
    world = await open_world(wrap=yielding)
    other = await world.replica(2, yielding(world.store))
    decision_id = (await world.route()).decision.decision_id
    calls = [
        replica.feedback(decision_id, usage=Usage(cost_nusd=100 + index), reward=index / 20)
        for index, replica in enumerate([world, other] * 8)
    ]
    statuses = [reply.status for reply in await asyncio.gather(*calls)]
    assert (statuses.count(APPLIED), statuses.count(DUPLICATE)) == (1, 15)
    outcome = await world.outcome(decision_id)
    account = (await world.budget()).account
    assert (account.spent_nusd, account.held_nusd) == (outcome.cost_nusd, 0)
    assert outcome.reward == pytest.approx((outcome.cost_nusd - 100) / 20)


async def test_of_many_corrections_at_once_the_events_tell_the_whole_story() -> None:
    world = await open_world(wrap=yielding)
    decision_id = (await world.route()).decision.decision_id
    await asyncio.gather(
        *(world.feedback(decision_id, usage=Usage(cost_nusd=c), correct=True) for c in range(100, 112))
    )
    entries = await world.store.events.read("pool", {}, 100)
    outcomes = [(decode_outcome(e.before), decode_outcome(e.after)) for e in entries]
    assert len(outcomes) == 12
    assert all(after == before for (_, after), (before, _) in pairwise(outcomes))
    assert (await world.budget()).account.spent_nusd == outcomes[-1][1].cost_nusd


class Away(Wrapped):
    async def commit(self, commit: OutcomeCommit) -> BudgetState | None:
        raise StoreUnavailable("no answer")


async def test_a_store_that_is_away_is_reported_as_retryable() -> None:
    world = await open_world()
    replica = await world.replica(2, with_parts(world.store, ledger=Away(world.store.ledger)))
    decision_id = (await world.route()).decision.decision_id
    with pytest.raises(StoreAway):
        await replica.feedback(decision_id, reward=0.5)


async def test_feedback_is_taken_for_arms_that_have_been_removed() -> None:
    world = await open_world(arms=[SMALL])
    decision_id = (await world.route()).decision.decision_id
    await world.services.admin.remove_arm("pool", "small", etag="", dry_run=False)
    assert (await world.feedback(decision_id, usage=USAGE, reward=0.5)).status is APPLIED


async def test_every_refusal_is_an_error_that_callers_can_read() -> None:
    world = await open_world()
    with pytest.raises(RouterError):
        await world.services.feedback.feedback(FeedbackRequest("acme", "nonsense"))


async def test_a_duplicate_for_a_tenant_whose_account_is_gone_finds_no_tenant() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    await world.feedback(decision_id, reward=0.5)
    await world.store.ledger.close_account("acme", LATEST)
    with pytest.raises(ResourceNotFound):
        await world.feedback(decision_id, reward=0.5)


@pytest.mark.parametrize("report", [{}, {"usage": Usage()}, {"idempotency_key": "k"}])
async def test_a_report_that_says_nothing_is_refused_and_frees_no_hold(report: dict[str, Any]) -> None:
    world = await open_world()
    reply = await world.route()
    with pytest.raises(InvalidRequest) as refused:
        await world.feedback(reply.decision.decision_id, **report)
    assert refused.value.violations[0].field == "usage"
    assert (await world.budget()).account == reply.budget.account


async def test_a_decision_keeps_only_so_many_metrics() -> None:
    world = await open_world()
    decision_id = (await world.route()).decision.decision_id
    await world.feedback(decision_id, metrics={f"m{n}": 1.0 for n in range(60)})
    with pytest.raises(InvalidRequest):
        await world.feedback(decision_id, metrics={f"n{n}": 1.0 for n in range(5)})
    assert len((await world.outcome(decision_id)).metrics) == 60
