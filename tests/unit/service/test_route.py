from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.codec import decode_decision
from bandit_router.core.decision import Reason
from bandit_router.core.errors import BudgetExhausted, InvalidRequest, NoFeasibleArm, ResourceNotFound, StoreAway
from bandit_router.core.money import TokenPrices
from bandit_router.core.outcomes import Billing, OutcomeKind
from bandit_router.core.resources import ExpiryPolicy, HoldPolicy, WindowKind, WindowRule
from bandit_router.ports.ledger import DoesNotFit, HoldRequest, StoreUnavailable
from bandit_router.service.messages import RouteRequest, Session, Usage
from bandit_router.service.route import MAX_ROUNDS
from tests.builders import (
    FREE,
    LARGE,
    MEDIUM,
    SMALL,
    SMALLEST_P_VALUE,
    chi_square_p_value,
    make_arm,
    make_pool,
    make_tenant,
)
from tests.unit.service.worlds import World, Wrapped, open_world, with_parts, yielding

MIXING = make_pool(exploration="igw:tau=5")
TEXT_HOLD_TOKENS = len("hello") + 16

LATEST = 10**6  # no account in these worlds is of a later generation


def hold_of(arm_prices: TokenPrices, *, output_tokens: int = 1000) -> int:
    """Worst-case hold of the query 'hello'."""
    return arm_prices.cost_nusd(input_tokens=TEXT_HOLD_TOKENS, output_tokens=output_tokens)


SMALL_HOLD, MEDIUM_HOLD, LARGE_HOLD = (hold_of(arm.prices) for arm in (SMALL, MEDIUM, LARGE))


async def test_a_decision_holds_its_money_and_is_recorded() -> None:
    world = await open_world()
    reply = await world.route()
    decision = reply.decision
    record = await world.store.ledger.read("acme", decision.decision_id)
    assert record is not None
    assert decode_decision(record.decision) == decision
    assert (await world.outcome(decision.decision_id)).billing is Billing.HELD
    account = (await world.budget()).account
    assert account == reply.budget.account
    assert (account.held_nusd, account.decisions) == (decision.hold_nusd, 1)
    assert account.in_flight_nusd == decision.quote.expected_cost_nusd


async def test_a_decision_bears_everything_that_replay_needs() -> None:
    world = await open_world(tenants=[make_tenant(hold_ttl_s=60)])
    decision = (await world.route("hello", request_id="r")).decision
    assert (decision.request_id, decision.seed, decision.policy_id) == ("r", 7, "hierarchical/igw/replan")
    assert (decision.decided_ms, decision.deadline_ms) == (world.clock.now_ms(), world.clock.now_ms() + 60_000)
    assert [q.arm_id for q in decision.quotes] == ["large", "medium", "small"]
    assert decision.reason is Reason.POLICY
    assert len(decision.context) == 2 + 4


async def test_propensities_cover_the_feasible_arms_and_sum_to_one() -> None:
    reply = await (await open_world()).route(allowed_arm_ids=("small", "large"))
    assert set(reply.propensities) == {"small", "large"}
    assert sum(reply.propensities.values()) == pytest.approx(1.0, abs=1e-12)
    assert reply.propensity == reply.propensities[reply.decision.arm_id]


async def test_the_same_request_id_gets_the_same_decision_and_holds_once() -> None:
    world = await open_world()
    first = await world.route(request_id="r")
    again = await world.route(request_id="r")
    assert (again.decision, again.propensities) == (first.decision, first.propensities)
    assert again.budget.account == first.budget.account
    assert (await world.route(request_id="s")).decision.decision_id != first.decision.decision_id


async def test_a_request_id_is_remembered_after_settlement_and_by_other_replicas() -> None:
    world = await open_world()
    first = await world.route(request_id="r")
    await world.settle(first)
    other = await world.replica(seed=2)
    assert (await other.route(request_id="r")).decision == first.decision


async def test_request_ids_of_two_tenants_have_nothing_to_do_with_each_other() -> None:
    world = await open_world(tenants=[make_tenant("acme"), make_tenant("other")])
    first = await world.route(request_id="r")
    other = await world.route(tenant_id="other", request_id="r")
    assert first.decision.decision_id != other.decision.decision_id


async def test_a_repeated_request_is_answered_although_the_money_is_gone() -> None:
    world = await open_world(arms=[SMALL], tenants=[make_tenant(limit_nusd=SMALL_HOLD)])
    first = await world.route(request_id="r")
    assert (await world.route(request_id="r")).decision == first.decision
    with pytest.raises(BudgetExhausted):
        await world.route(request_id="s")


async def test_a_dry_run_leaves_the_store_as_it_is() -> None:
    world = await open_world()
    await world.route()
    before = world.contents()
    await world.route(request_id="r", dry_run=True)
    assert world.contents() == before


async def test_a_dry_run_tells_what_a_real_call_would_get() -> None:
    world = await open_world(pool=MIXING, tenants=[make_tenant(limit_nusd=MEDIUM_HOLD)])
    for index in range(20):
        other = await open_world(pool=MIXING, tenants=[make_tenant(limit_nusd=MEDIUM_HOLD)])
        rehearsed = await world.route(request_id=f"r{index}", dry_run=True)
        real = await other.route(request_id=f"r{index}")
        assert rehearsed.decision.arm_id == real.decision.arm_id
        assert rehearsed.propensities == real.propensities


async def test_a_dry_run_of_what_does_not_fit_is_refused_like_a_real_call() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=SMALL_HOLD - 1)])
    with pytest.raises(BudgetExhausted):
        await world.route(dry_run=True)


async def test_a_call_is_refused_only_if_no_hold_fits_and_says_what_is_missing() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=SMALL_HOLD - 1)])
    before = world.contents()
    with pytest.raises(BudgetExhausted) as refusal:
        await world.route()
    assert (refusal.value.free_nusd, refusal.value.least_hold_nusd) == (SMALL_HOLD - 1, SMALL_HOLD)
    assert refusal.value.retry_after_s is None
    assert world.contents() == before


async def test_a_refusal_in_a_calendar_window_says_when_the_next_one_opens() -> None:
    world = await open_world(tenants=[make_tenant(limit_nusd=1, window=WindowRule(WindowKind.HOUR))])
    world.clock.jump(600)
    with pytest.raises(BudgetExhausted) as refusal:
        await world.route()
    assert refusal.value.retry_after_s == 3000.0


async def test_a_new_window_has_its_own_money() -> None:
    world = await open_world(
        arms=[SMALL], tenants=[make_tenant(limit_nusd=SMALL_HOLD, window=WindowRule(WindowKind.HOUR))]
    )
    await world.route()
    with pytest.raises(BudgetExhausted):
        await world.route()
    world.clock.jump(3600)
    assert (await world.route()).budget.account.decisions == 1


async def test_an_arm_that_does_not_fit_is_drawn_again_over_those_that_do() -> None:
    world = await open_world(pool=MIXING, tenants=[make_tenant(limit_nusd=SMALL_HOLD, budget_policy="none")])
    redrawn = 0
    for index in range(30):
        reply = await world.route(request_id=f"r{index}", dry_run=True)
        assert reply.propensities == {"small": pytest.approx(1.0)}
        redrawn += len(reply.decision.rounds) == 2
    assert 0 < redrawn < 30
    assert (await world.route()).decision.arm_id == "small"


@pytest.mark.parametrize("limit_nusd", [10**9, MEDIUM_HOLD, SMALL_HOLD])
async def test_arms_are_chosen_as_often_as_the_reported_propensities_say(limit_nusd: int) -> None:
    world = await open_world(pool=MIXING, tenants=[make_tenant(limit_nusd=limit_nusd, budget_policy="none")])
    replies = [await world.route(request_id=f"r{index}", dry_run=True) for index in range(1000)]
    chosen = Counter(reply.decision.arm_id for reply in replies)
    reported = replies[0].propensities
    assert all(reply.propensities == pytest.approx(reported) for reply in replies)
    arm_ids = ["small", "medium", "large"]
    p_value = chi_square_p_value([chosen[a] for a in arm_ids], [reported.get(a, 0.0) for a in arm_ids])
    assert p_value > SMALLEST_P_VALUE


async def test_recorded_propensities_match_what_was_chosen_while_learning_goes_on() -> None:
    world = await open_world(pool=MIXING, tenants=[make_tenant(limit_nusd=10**12)])
    excess: Counter[str] = Counter()
    variance: Counter[str] = Counter()
    for index in range(400):
        reply = await world.route(f"query {index}", request_id=f"r{index}")
        await world.settle(reply, reward={"small": 0.3, "medium": 0.6, "large": 0.9}[reply.decision.arm_id])
        await world.services.learner.step("pool")
        for arm_id, p in reply.propensities.items():
            excess[arm_id] += (arm_id == reply.decision.arm_id) - p
            variance[arm_id] += p * (1 - p)
    assert all(excess[a] ** 2 < 16 * variance[a] for a in variance)


ZERO = make_arm("zero", prices=FREE, max_output_tokens=1000)


async def overdrawn(**fields: Any) -> World:
    """A tenant whose bill has passed its limit."""
    tenant = make_tenant(limit_nusd=SMALL_HOLD, **fields)
    world = await open_world(arms=[SMALL, ZERO], tenants=[tenant])
    reply = await world.route(allowed_arm_ids=("small",))
    await world.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=SMALL_HOLD + 1))
    assert (await world.budget()).account.free_nusd == -1
    return world


async def test_a_tenant_without_money_gets_its_free_fallback_arm() -> None:
    world = await overdrawn(fallback_arm_id="zero")
    before = (await world.budget()).account
    reply = await world.route()
    assert (reply.decision.arm_id, reply.decision.reason, reply.propensity) == ("zero", Reason.FALLBACK, 1.0)
    assert reply.budget.account == replace(before, decisions=2)
    assert (await world.route(dry_run=True)).decision.reason is Reason.FALLBACK


async def test_a_fallback_keeps_to_the_requests_constraints() -> None:
    world = await overdrawn(fallback_arm_id="zero")
    with pytest.raises(BudgetExhausted):
        await world.route(allowed_arm_ids=("small",))


async def test_without_a_fallback_an_overdrawn_tenant_is_refused_even_free_arms() -> None:
    world = await overdrawn()
    with pytest.raises(BudgetExhausted):
        await world.route()


async def test_a_shadow_tenant_is_counted_but_never_refused() -> None:
    world = await open_world(arms=[SMALL], tenants=[make_tenant(limit_nusd=1, shadow=True)])
    for decisions in (1, 2, 3):
        reply = await world.route()
        assert reply.budget.account.decisions == decisions
    assert reply.budget.account.free_nusd < 0
    assert reply.propensities == {"small": 1.0}


@pytest.mark.parametrize(
    ("arm", "options", "rule"),
    [
        (replace(SMALL, enabled=False), {}, "disabled"),
        (replace(SMALL, draining=True), {}, "draining"),
        (SMALL, {"max_cost_nusd": 0}, "max_cost_nusd"),
        (SMALL, {"min_expected_reward": 1.0}, "min_expected_reward"),
    ],
)
async def test_constraints_that_exclude_every_arm_are_named(arm: Any, options: dict[str, Any], rule: str) -> None:
    world = await open_world(arms=[arm])
    with pytest.raises(NoFeasibleArm) as refusal:
        await world.route(**options)
    assert refusal.value.excluded == {"small": rule}


async def test_a_pool_without_arms_has_none_that_is_feasible() -> None:
    with pytest.raises(NoFeasibleArm):
        await (await open_world(arms=[])).route()


async def test_unknown_tenants_and_arms_are_not_found() -> None:
    world = await open_world()
    with pytest.raises(ResourceNotFound) as refusal:
        await world.route(tenant_id="nobody")
    assert refusal.value.reason == "TENANT_NOT_FOUND"
    with pytest.raises(ResourceNotFound) as refusal:
        await world.route(allowed_arm_ids=("small", "unknown"))
    assert refusal.value.reason == "ARM_NOT_FOUND"


async def test_a_tenant_whose_account_is_gone_is_not_found() -> None:
    world = await open_world()
    await world.store.ledger.close_account("acme", LATEST)
    with pytest.raises(ResourceNotFound):
        await world.route()


@pytest.mark.parametrize("request_fields", [{}, {"query": "hello", "embedding": (0.0,) * 4}])
async def test_exactly_one_of_query_and_embedding_is_needed(request_fields: dict[str, Any]) -> None:
    world = await open_world()
    with pytest.raises(InvalidRequest, match="exactly one"):
        await world.services.route.route(RouteRequest("acme", **request_fields))


async def test_an_embedding_is_as_good_as_its_text() -> None:
    world = await open_world()
    embedding = tuple(world.services.contexts._encoders("hash").encoder.encode(["hello"])[0].tolist())
    request = RouteRequest("acme", embedding=embedding, prompt_tokens=2, dry_run=True, request_id="r")
    by_vector = await world.services.route.route(request)
    by_text = await world.route("hello", prompt_tokens=2, dry_run=True, request_id="r")
    assert by_vector.decision.context == by_text.decision.context
    assert by_vector.propensities == by_text.propensities


async def test_the_sessions_cached_tokens_make_its_last_arm_cheaper() -> None:
    world = await open_world()
    session = Session("s", "large", 900)
    plain = await world.route(prompt_tokens=1000, dry_run=True)
    cached = await world.route(prompt_tokens=1000, session=session, dry_run=True)
    by_arm = {
        q.arm_id: (p.expected_cost_nusd, q.expected_cost_nusd)
        for p, q in zip(plain.decision.quotes, cached.decision.quotes, strict=True)
    }
    assert by_arm["large"][1] < by_arm["large"][0]
    assert by_arm["small"][1] == by_arm["small"][0]


async def test_a_shorter_answer_needs_a_smaller_hold() -> None:
    world = await open_world(arms=[SMALL])
    short = await world.route(max_output_tokens=10)
    assert short.decision.hold_nusd == hold_of(SMALL.prices, output_tokens=10)
    assert short.decision.max_output_tokens == 10


@pytest.mark.parametrize("policy", list(HoldPolicy))
async def test_the_tenants_hold_policy_is_followed(policy: HoldPolicy) -> None:
    world = await open_world(
        arms=[replace(LARGE, max_output_tokens=10**6)], tenants=[make_tenant(limit_nusd=10**12, hold_policy=policy)]
    )
    quote = (await world.route()).decision.quote
    worst = hold_of(LARGE.prices, output_tokens=10**6)
    assert (quote.hold_nusd == worst) == (policy is HoldPolicy.WORST_CASE)
    assert (quote.hold_nusd == quote.expected_cost_nusd) == (policy is HoldPolicy.EXPECTED)


@pytest.mark.parametrize("policy", list(ExpiryPolicy))
async def test_what_expiry_does_is_fixed_when_the_decision_is_made(policy: ExpiryPolicy) -> None:
    world = await open_world(tenants=[make_tenant(expiry_policy=policy)])
    outcome = await world.outcome((await world.route()).decision.decision_id)
    assert outcome.expiry_charges == (policy is ExpiryPolicy.CHARGE)
    assert outcome.kind is OutcomeKind.UNSPECIFIED


class Away(Wrapped):
    async def hold(self, request: HoldRequest) -> Any:
        raise StoreUnavailable("no answer")


class NeverFits(Wrapped):
    """Somebody else always takes the money first."""

    tries = 0

    async def hold(self, request: HoldRequest) -> Any:
        self.tries += 1
        budget = await self.inner.budget(request.levels[0])
        return DoesNotFit((budget,), free_nusd=budget.account.free_nusd)


async def test_a_store_that_is_away_is_reported_as_retryable() -> None:
    world = await open_world(wrap=lambda store: with_parts(store, ledger=Away(store.ledger)))
    with pytest.raises(StoreAway) as refusal:
        await world.route()
    assert refusal.value.retry_after_s > 0


async def test_the_number_of_draws_has_a_limit() -> None:
    world = await open_world()
    ledger = NeverFits(world.store.ledger)
    replica = await world.replica(seed=2, store=with_parts(world.store, ledger=ledger))
    with pytest.raises(StoreAway):
        await replica.route()
    assert ledger.tries == MAX_ROUNDS


async def test_of_a_thousand_calls_at_once_exactly_those_that_fit_are_admitted() -> None:
    fitting = 377
    tenant = make_tenant(limit_nusd=fitting * SMALL_HOLD + SMALL_HOLD - 1)
    world = await open_world(arms=[SMALL], tenants=[tenant], wrap=yielding)
    replicas = [world, await world.replica(2, yielding(world.store))]
    calls = [replicas[index % 2].route() for index in range(1000)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    admitted = [r for r in results if not isinstance(r, BaseException)]
    assert len(admitted) == fitting
    assert all(isinstance(r, BudgetExhausted) for r in results if isinstance(r, BaseException))
    assert len({r.decision.decision_id for r in admitted}) == fitting
    assert (await world.budget()).account.free_nusd == SMALL_HOLD - 1


async def test_of_mixed_arms_at_once_none_is_refused_while_a_smaller_hold_fits() -> None:
    tenant = make_tenant(limit_nusd=40 * LARGE_HOLD, budget_policy="none")
    world = await open_world(pool=MIXING, tenants=[tenant], wrap=yielding)
    results = await asyncio.gather(*(world.route() for _ in range(300)), return_exceptions=True)
    refused = [r for r in results if isinstance(r, BaseException)]
    free_nusd = (await world.budget()).account.free_nusd
    assert free_nusd >= 0
    assert all(isinstance(r, BudgetExhausted) for r in refused)
    assert bool(refused) == (free_nusd < SMALL_HOLD)


async def test_one_request_id_sent_many_times_at_once_holds_once() -> None:
    world = await open_world(wrap=yielding)
    replies = await asyncio.gather(*(world.route(request_id="r") for _ in range(50)))
    assert len({reply.decision.decision_id for reply in replies}) == 1
    assert len({reply.decision.arm_id for reply in replies}) == 1
    assert (await world.budget()).account.decisions == 1
