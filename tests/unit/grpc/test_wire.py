"""Protobuf messages and service messages: presence is kept, defaults are filled in, nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.adapters.grpc import wire
from bandit_router.adapters.grpc.wire_admin import (
    arm_from_wire,
    arm_to_wire,
    pool_from_wire,
    pool_to_wire,
    tenant_from_wire,
    tenant_to_wire,
)
from bandit_router.adapters.grpc.wire_events import decode_cursor, encode_cursor
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.money import TokenPrices
from bandit_router.core.outcomes import OutcomeKind
from bandit_router.core.resources import (
    Arm,
    ExpiryPolicy,
    HoldPolicy,
    OutagePolicy,
    Pool,
    Tenant,
    WindowKind,
    WindowRule,
)
from bandit_router.v1 import resources_pb2, router_pb2

MILLISECONDS = st.integers(1, 10**9).map(lambda ms: ms / 1000)
NAMES = st.text("abc", min_size=1, max_size=5)
PRICES = st.integers(0, 10**15)

POOLS = st.builds(
    Pool,
    pool_id=NAMES,
    encoder_id=NAMES,
    dimension=st.integers(1, 256),
    learner=NAMES,
    exploration=NAMES,
    seed=st.integers(-(2**63), 2**63 - 1),
    features=st.lists(NAMES, max_size=3).map(tuple),
    apprentice_share=st.floats(0, 1),
    holdout_share=st.floats(0, 1),
    baseline_arm_id=st.one_of(st.just(""), NAMES),
    default_reward=st.one_of(st.none(), st.floats(0, 1)),
    default_reward_deadline_s=st.one_of(st.just(0.0), MILLISECONDS),
)
ARMS = st.builds(
    Arm,
    arm_id=NAMES,
    prices=st.builds(TokenPrices, PRICES, PRICES, PRICES),
    max_output_tokens=st.integers(1, 2**31 - 1),
    enabled=st.booleans(),
    draining=st.booleans(),
    tier=NAMES,
    family=NAMES,
    onboarding_nusd=st.integers(0, 2**53),
)
TENANTS = st.builds(
    Tenant,
    tenant_id=NAMES,
    pool_id=NAMES,
    limit_nusd=st.integers(0, 2**53),
    budget_policy=NAMES,
    window=st.builds(WindowRule, st.sampled_from(WindowKind), NAMES, st.integers(1, 28), st.booleans()),
    expected_calls=st.integers(0, 2**62),
    hold_policy=st.sampled_from(HoldPolicy),
    hold_ttl_s=MILLISECONDS,
    expiry_policy=st.sampled_from(ExpiryPolicy),
    outage_policy=st.sampled_from(OutagePolicy),
    outage_allowance_nusd=st.integers(0, 2**53),
    fallback_arm_id=st.one_of(st.just(""), NAMES),
    isolated=st.booleans(),
    shadow=st.booleans(),
)


@given(POOLS)
def test_pools_survive_the_wire(pool: Pool) -> None:
    assert pool_from_wire(pool_to_wire(pool, "7")) == pool


@given(ARMS)
def test_arms_survive_the_wire(arm: Arm) -> None:
    assert arm_from_wire(arm_to_wire(arm, "7")) == arm


@given(TENANTS)
def test_tenants_survive_the_wire(tenant: Tenant) -> None:
    assert tenant_from_wire(tenant_to_wire(tenant, "7")) == tenant


def test_ids_prices_and_a_limit_are_enough() -> None:
    assert pool_from_wire(resources_pb2.Pool(pool_id="p")) == Pool("p")
    arm = arm_from_wire(resources_pb2.Arm(arm_id="a", input_usd_per_mtok="0.15", output_usd_per_mtok="0.6"))
    assert arm == Arm("a", TokenPrices(150_000_000, 600_000_000, 150_000_000))
    tenant = tenant_from_wire(resources_pb2.Tenant(tenant_id="t", pool_id="p", limit_nusd=5))
    assert tenant == Tenant("t", "p", 5)


def test_a_cached_price_of_zero_is_not_the_input_price() -> None:
    arm = resources_pb2.Arm(arm_id="a", input_usd_per_mtok="1", output_usd_per_mtok="1", cached_input_usd_per_mtok="0")
    assert arm_from_wire(arm).prices.cached_input_nusd_per_mtok == 0


def test_an_arm_is_switched_off_only_on_purpose() -> None:
    arm = resources_pb2.Arm(arm_id="a", input_usd_per_mtok="1", output_usd_per_mtok="1")
    assert arm_from_wire(arm).enabled
    arm.enabled = False
    assert not arm_from_wire(arm).enabled


def test_a_price_too_fine_to_be_exact_names_its_field() -> None:
    arm = resources_pb2.Arm(arm_id="a", input_usd_per_mtok="1", output_usd_per_mtok="0.0000000001")
    with pytest.raises(InvalidRequest) as refused:
        arm_from_wire(arm)
    assert [v.field for v in refused.value.violations] == ["arm.output_usd_per_mtok"]


def test_absent_fields_of_a_route_request_are_none_and_zeros_are_zero() -> None:
    bare = wire.route_request(router_pb2.RouteRequest(tenant_id="t", query=""))
    assert (bare.query, bare.embedding, bare.request_id) == ("", None, "")
    assert (bare.prompt_tokens, bare.max_output_tokens, bare.max_cost_nusd, bare.min_expected_reward) == (None,) * 4
    zeros = wire.route_request(
        router_pb2.RouteRequest(
            tenant_id="t",
            embedding=router_pb2.Embedding(values=[0.5], encoder_id="vector:1"),
            prompt_tokens=0,
            max_output_tokens=0,
            max_cost_nusd=0,
            min_expected_reward=0.0,
        )
    )
    assert (zeros.query, zeros.embedding, zeros.embedding_encoder_id) == (None, (0.5,), "vector:1")
    assert (zeros.prompt_tokens, zeros.max_output_tokens, zeros.max_cost_nusd, zeros.min_expected_reward) == (
        0,
        0,
        0,
        0,
    )


def test_absent_fields_of_a_feedback_are_none_and_zeros_are_zero() -> None:
    bare = wire.feedback_request(router_pb2.FeedbackRequest(tenant_id="t", decision_id="d"))
    assert (bare.usage, bare.reward, bare.latency_ms, bare.outcome) == (None, None, None, OutcomeKind.UNSPECIFIED)
    zeros = wire.feedback_request(
        router_pb2.FeedbackRequest(
            tenant_id="t",
            decision_id="d",
            usage=resources_pb2.Usage(cost_nusd=0),
            reward=0.0,
            latency_ms=0,
            outcome=resources_pb2.OUTCOME_CANCELLED,
        )
    )
    assert zeros.usage is not None
    assert (zeros.usage.cost_nusd, zeros.usage.input_tokens) == (0, None)
    assert (zeros.reward, zeros.latency_ms, zeros.outcome) == (0.0, 0, OutcomeKind.CANCELLED)


@given(st.dictionaries(st.integers(0, 15), st.tuples(st.integers(0, 10**13), st.integers(0, 999))))
def test_cursors_come_back_as_they_went(ids: dict[int, tuple[int, int]]) -> None:
    positions = {partition: f"{ms}-{sequence}" for partition, (ms, sequence) in ids.items()}
    assert decode_cursor(encode_cursor(positions)) == positions


@pytest.mark.parametrize(
    "cursor", ["x", "e30", "W10=", "eyI5OSI6ICIxLTEifQ==", "eyIxIjogIi0ifQ==", "eyIxIjogNX0=", "ü"]
)
def test_foreign_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(cursor)
