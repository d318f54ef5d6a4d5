"""Expected costs end to end: bills that differ from their estimates, prompt caches, sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bandit_router.core.bills import BillSums
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.pool_state import PoolState
from bandit_router.service.messages import RouteReply, Session, Usage
from bandit_router.service.models import empty_state, in_coordinates_of
from tests.builders import LARGE, MEDIUM, SMALL, make_arm, make_pool, make_prices, make_tenant
from tests.unit.service.worlds import World, open_world

TOKENS_IN, TOKENS_OUT = 1000, 200


async def learned(world: World) -> PoolState:
    await world.services.learner.step("pool")
    await world.services.models.refresh("pool")
    snapshot = await world.store.snapshots.load("pool")
    assert snapshot is not None
    return decode_pool_state(snapshot.state)


async def billed(world: World, *, times: float, calls: int = 200) -> RouteReply:
    """The reply after calls whose bills were so many times their list price, learned one by one."""
    for index in range(calls):
        reply = await world.route(f"query {index}", prompt_tokens=TOKENS_IN, allowed_arm_ids=("small",))
        listed_nusd = reply.decision.prices.cost_nusd(input_tokens=TOKENS_IN, output_tokens=TOKENS_OUT)
        usage = Usage(TOKENS_IN, TOKENS_OUT, cost_nusd=round(times * listed_nusd))
        await world.feedback(reply.decision.decision_id, usage=usage)
        await learned(world)
    return await world.route("query", prompt_tokens=TOKENS_IN, allowed_arm_ids=("small",))


async def test_an_arm_that_bills_half_its_list_price_is_expected_to() -> None:
    world, honest = await open_world(), await open_world()
    half, whole = await billed(world, times=0.5), await billed(honest, times=1.0)
    small = [next(q for q in reply.decision.quotes if q.arm_id == "small") for reply in (half, whole)]
    assert small[0].expected_output_tokens == pytest.approx(small[1].expected_output_tokens)
    assert 0.5 < small[0].expected_cost_nusd / small[1].expected_cost_nusd < 0.75
    assert small[0].hold_nusd == small[1].hold_nusd
    assert half.decision.learned_bills == 200


async def test_a_correction_of_a_bill_leaves_no_trace_of_the_first_one() -> None:
    world, other = await open_world(), await open_world()
    for cost_nusd in (10**6, 2 * 10**6):
        for each, first in ((world, 9 * cost_nusd), (other, cost_nusd)):
            reply = await each.route(f"query {cost_nusd}", prompt_tokens=TOKENS_IN)
            await each.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=first))
            await learned(each)
            await each.feedback(reply.decision.decision_id, usage=Usage(cost_nusd=cost_nusd), correct=True)
    found = [(await learned(each)).bills for each in (world, other)]
    assert found[0] == found[1] != {}


async def test_what_was_spent_outlives_a_new_projection_but_what_it_was_estimated_at_does_not() -> None:
    world = await open_world()
    await billed(world, times=2.0, calls=3)
    state = await learned(world)
    wider = make_pool(dimension=9, generation=state.generation)
    fresh = in_coordinates_of(wider, None, state)
    assert fresh.dimension == empty_state(wider).dimension
    assert fresh.bills == {"small": BillSums(spent_nusd=state.bills["small"].spent_nusd)}


CACHING = make_arm("caching", prices=make_prices(2.0, 2.0, 0.2), max_output_tokens=300)
RIVAL = replace(CACHING, arm_id="rival", prices=make_prices(1.8, 1.8, 0.18))
PRESSED = make_tenant(limit_nusd=19_000_000 * 10_000, expected_calls=10_000)


async def shares_of_caching(session: Session) -> float:
    world = await open_world(arms=[CACHING, RIVAL], tenants=[PRESSED])
    propensities = []
    for index in range(40):
        reply = await world.route(f"q{index}", prompt_tokens=10_000, session=session)
        propensities.append(reply.propensities["caching"])
    assert reply.decision.price_per_usd > 0.0
    return sum(propensities[1:]) / len(propensities[1:])


async def test_a_session_stays_where_its_prompt_is_cached_if_switching_costs_more() -> None:
    fresh = await shares_of_caching(Session())
    cached = await shares_of_caching(Session("s", last_arm_id="caching", cached_tokens=9_000))
    assert fresh < 0.5 < 0.9 < cached


async def test_the_cache_of_another_arm_makes_nothing_cheaper() -> None:
    elsewhere = await shares_of_caching(Session("s", last_arm_id="rival", cached_tokens=9_000))
    assert elsewhere < await shares_of_caching(Session())


async def test_a_bill_with_cached_tokens_is_settled_at_the_caches_price_and_teaches_the_answers_length() -> None:
    world = await open_world(arms=[MEDIUM])
    session = Session("s", last_arm_id="medium", cached_tokens=800)
    reply = await world.route(prompt_tokens=TOKENS_IN, session=session)
    usage = Usage(input_tokens=TOKENS_IN, output_tokens=TOKENS_OUT, cached_input_tokens=900)
    settled = await world.feedback(reply.decision.decision_id, usage=usage)
    assert settled.settled_cost_nusd == 100 * 1000 + 900 * 200 + TOKENS_OUT * 4000
    state = await learned(world)
    assert state.arms["medium"].tokens.count == 1
    assert state.bills["medium"].spent_nusd == settled.settled_cost_nusd


async def test_a_cached_prompt_that_was_expected_does_not_make_the_arm_look_cheap() -> None:
    """The estimate that bills are compared with has the cache in it."""
    world = await open_world(arms=[MEDIUM])
    session = Session("s", last_arm_id="medium", cached_tokens=1800)
    usage = Usage(input_tokens=2000, output_tokens=TOKENS_OUT, cached_input_tokens=1800)
    for index in range(300):
        reply = await world.route(f"q{index}", prompt_tokens=2000, session=session)
        await world.feedback(reply.decision.decision_id, usage=usage)
        if index % 10 == 9:
            state = await learned(world)
    assert state.bills["medium"].ratio == pytest.approx(1.0, abs=0.1)


async def test_prices_of_all_arms_are_what_the_reservoir_sees_without_a_cache() -> None:
    """Recent queries stand for coming ones, whose sessions are not known: λ errs on the side of money left."""
    world = await open_world(arms=[SMALL, LARGE], tenants=[PRESSED])
    plain = await open_world(arms=[SMALL, LARGE], tenants=[PRESSED])
    session = Session("s", last_arm_id="large", cached_tokens=900)
    for index in range(3):
        await world.route(f"q{index}", prompt_tokens=TOKENS_IN, session=session)
        await plain.route(f"q{index}", prompt_tokens=TOKENS_IN)
    assert await world.store.ledger.recent_contexts("acme") == await plain.store.ledger.recent_contexts("acme")
