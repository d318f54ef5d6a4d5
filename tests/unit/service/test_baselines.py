"""The baseline arm's shares of decisions: hold-out and apprentice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bandit_router.core.codec import decode_decision
from bandit_router.core.decision import Reason
from bandit_router.core.resources import Pool
from bandit_router.service.reservoirs import Sample, build_reservoir
from tests.builders import LARGE, MEDIUM, SMALL, SMALLEST_P_VALUE, chi_square_p_value, make_pool, make_tenant
from tests.unit.service.worlds import World, open_world

PLAIN = make_pool(exploration="igw:tau=3")
KEPT = replace(PLAIN, holdout_share=0.2, apprentice_share=0.3, baseline_arm_id="medium")
RICH = make_tenant(limit_nusd=10**13, budget_policy="none")
DRAWS = 600


async def world_of(pool: Pool, **fields: object) -> World:
    return await open_world(pool=pool, tenants=[replace(RICH, **fields)])  # type: ignore[arg-type]


async def test_each_reason_and_arm_comes_as_often_as_its_propensity_says() -> None:
    world = await world_of(KEPT)
    arms, reasons, expected = Counter[str](), Counter[Reason](), Counter[str]()
    for index in range(DRAWS):
        reply = await world.route("always the same", request_id=f"r{index}")
        arms[reply.decision.arm_id] += 1
        reasons[reply.decision.reason] += 1
        expected.update(reply.propensities)
    names = ["small", "medium", "large"]
    shares = [expected[name] / DRAWS for name in names]
    assert sum(shares) == pytest.approx(1.0)
    assert chi_square_p_value([arms[name] for name in names], shares) > SMALLEST_P_VALUE
    kinds = [Reason.HOLDOUT, Reason.APPRENTICE, Reason.POLICY]
    assert chi_square_p_value([reasons[kind] for kind in kinds], [0.2, 0.3, 0.5]) > SMALLEST_P_VALUE
    assert sum(reasons.values()) == DRAWS


async def test_propensities_are_the_policys_mixed_with_the_baseline() -> None:
    mixed = (await (await world_of(KEPT)).route(request_id="r")).propensities
    plain = (await (await world_of(PLAIN)).route(request_id="r")).propensities
    for arm_id, propensity in plain.items():
        assert mixed[arm_id] == pytest.approx(0.5 * propensity + 0.5 * (arm_id == "medium"))


async def test_a_kept_decision_is_the_baselines_and_logs_what_the_policy_thought() -> None:
    world = await world_of(replace(KEPT, holdout_share=0.0, apprentice_share=1.0))
    reply = await world.route()
    assert (reply.decision.arm_id, reply.decision.reason) == ("medium", Reason.APPRENTICE)
    assert reply.propensities == {"medium": 1.0}
    plain = (await (await world_of(PLAIN)).route()).decision
    assert reply.decision.quotes == plain.quotes
    record = await world.store.ledger.read("acme", reply.decision.decision_id)
    assert record is not None
    assert decode_decision(record.decision) == reply.decision


async def test_without_shares_every_draw_is_as_before() -> None:
    named = await world_of(replace(PLAIN, baseline_arm_id="medium"))
    plain = await world_of(PLAIN)
    for index in range(30):
        one, other = [await world.route(f"q{index}", request_id=f"r{index}") for world in (named, plain)]
        assert (one.decision, one.propensities) == (other.decision, other.propensities)


async def test_where_the_baseline_is_not_allowed_the_policy_answers() -> None:
    world, plain = await world_of(KEPT), await world_of(PLAIN)
    for index in range(30):
        options = {"request_id": f"r{index}", "allowed_arm_ids": ("small", "large")}
        kept, free = await world.route(**options), await plain.route(**options)
        assert kept.decision.reason is Reason.POLICY
        assert kept.propensities == free.propensities


async def test_where_the_baseline_is_not_in_the_pool_the_policy_answers() -> None:
    world = await world_of(replace(KEPT, baseline_arm_id="gone"))
    assert {(await world.route(f"q{index}")).decision.reason for index in range(20)} == {Reason.POLICY}


async def test_where_its_hold_does_not_fit_the_policy_draws_among_those_that_do_with_exact_propensities() -> None:
    """Hold-outs of a baseline that is too dear fall to the policy, and count in its arms' propensities."""
    kept = replace(KEPT, baseline_arm_id="large")
    arms, expected = Counter[str](), Counter[str]()
    medium_hold_nusd = MEDIUM.prices.dearest_nusd(input_tokens=len("hello") + 16, output_tokens=1000)
    for index in range(300):
        world = await world_of(kept, limit_nusd=medium_hold_nusd)
        reply = await world.route("hello", request_id=f"r{index}")
        arms[reply.decision.arm_id] += 1
        expected.update(reply.propensities)
        assert reply.decision.reason is Reason.POLICY
    assert set(expected) == {"small", "medium"}
    names = ["small", "medium"]
    shares = [expected[name] / 300 for name in names]
    assert chi_square_p_value([arms[name] for name in names], shares) > SMALLEST_P_VALUE


async def test_the_price_of_money_counts_what_the_baseline_costs() -> None:
    world, plain = (await world_of(replace(KEPT, baseline_arm_id="large"))), await world_of(PLAIN)
    means = []
    for each in (world, plain):
        reply = await each.route("hello")
        pool = await each.services.models.served("pool")
        packed = await each.store.ledger.recent_contexts(reply.decision.tenant_id)
        reservoir = build_reservoir([Sample.unpack(data) for data in packed], pool)
        shares = pool.weigher()(reservoir.rewards, reservoir.deviations)
        assert shares.sum(axis=1) == pytest.approx(1.0)
        means.append(shares[0])
    assert means[0] == pytest.approx([0.5 + 0.5 * means[1][0], 0.5 * means[1][1], 0.5 * means[1][2]])
    assert [arm.arm_id for arm in pool.arms] == [arm.arm_id for arm in (LARGE, MEDIUM, SMALL)]
