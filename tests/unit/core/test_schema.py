"""What a store with a resource needs."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

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
from bandit_router.core.schema import FIRST_SCHEMA, SCHEMA_VERSION, prior_schema_needed, schema_needed
from tests.builders import SMALL, make_pool, make_tenant
from tests.builders_of_priors import pool_prior, relative_prior

OF_FIRST: dict[type, str] = {
    Pool: "pool_id encoder_id dimension learner exploration seed features learning_frozen",
    Arm: "arm_id prices max_output_tokens enabled draining tier family",
    Tenant: "tenant_id pool_id limit_nusd budget_policy window expected_calls hold_policy hold_ttl_s expiry_policy"
    " fallback_arm_id shadow",
}
"""Fields that the first schema's code knew and took."""

MEANS_NOTHING_ALONE = {"baseline_arm_id", "default_reward_deadline_s", "outage_allowance_nusd", "generation"}
"""Taken or ignored by it as well, and without a meaning unless another field is set; a generation is always there."""

OF_SECOND: tuple[tuple[Pool | Arm | Tenant, dict[str, object]], ...] = (
    (make_pool(), {"apprentice_share": 0.1}),
    (make_pool(), {"holdout_share": 0.1}),
    (make_pool(), {"default_reward": 0.0}),
    (SMALL, {"onboarding_nusd": 1}),
    (make_tenant(), {"isolated": True}),
    (make_tenant(), {"outage_policy": OutagePolicy.FAIL_OPEN}),
    (make_tenant(), {"parent_tenant_id": "acme"}),
    (make_tenant(), {"session_cap_nusd": 1}),
    (make_tenant(), {"alert_percents": (80,)}),
)


@pytest.mark.parametrize(
    "resource",
    [
        make_pool(learner="linucb", exploration="igw", features=("hour",), learning_frozen=True, generation=7),
        replace(SMALL, tier="high", draining=True),
        make_tenant(hold_policy=HoldPolicy.QUANTILE, expiry_policy=ExpiryPolicy.RELEASE, shadow=True, generation=7),
        make_tenant(window=WindowRule(kind=WindowKind.MONTH, start_day=28, carry_over=True)),
    ],
)
def test_what_the_first_schema_knew_needs_no_more_than_it(resource: Pool | Arm | Tenant) -> None:
    assert schema_needed(resource) == schema_needed(resource, resource) == FIRST_SCHEMA


@pytest.mark.parametrize(("resource", "more"), OF_SECOND, ids=lambda value: str(value)[:40])
def test_a_setting_that_the_first_schema_refused_or_ignored_needs_the_second(
    resource: Pool | Arm | Tenant, more: dict[str, object]
) -> None:
    assert schema_needed(resource) == FIRST_SCHEMA
    assert schema_needed(replace(resource, **more)) == 2


def test_no_field_that_came_after_the_first_schema_is_forgotten() -> None:
    told = {(type(resource), name) for resource, more in OF_SECOND for name in more}
    for kind, known in OF_FIRST.items():
        later = {field.name for field in fields(kind)} - set(known.split()) - MEANS_NOTHING_ALONE
        assert later == {name for owner, name in told if owner is kind}


def test_a_month_that_starts_on_a_day_that_not_all_months_have_needs_the_second() -> None:
    assert schema_needed(make_tenant(window=WindowRule(kind=WindowKind.MONTH, start_day=29))) == 2


def test_a_window_that_goes_on_under_another_rule_needs_the_second() -> None:
    daily, monthly = (make_tenant(window=WindowRule(kind=kind)) for kind in (WindowKind.DAY, WindowKind.MONTH))
    assert schema_needed(monthly, daily) == 2
    assert schema_needed(replace(daily, expected_calls=5), daily) == FIRST_SCHEMA
    assert schema_needed(monthly) == FIRST_SCHEMA


def test_this_code_knows_all_that_it_can_need() -> None:
    assert prior_schema_needed(relative_prior()) == SCHEMA_VERSION == 3


def test_a_prior_needs_the_second_and_with_relative_parts_the_third() -> None:
    assert prior_schema_needed(pool_prior()) == 2
    assert prior_schema_needed(relative_prior()) == 3
