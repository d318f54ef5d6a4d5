from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bandit_router.core.errors import InvalidRequest
from bandit_router.core.money import MAX_LIMIT_NUSD, MAX_PRICE_NUSD_PER_MTOK, TokenPrices
from bandit_router.core.resources import OutagePolicy, WindowKind, WindowRule
from bandit_router.service.rules import MAX_HOLD_TTL_S, check_arm, check_fallback, check_pool, check_tenant
from tests.builders import FREE, SMALL, make_arm, make_pool, make_tenant


def complaints(check: Callable[..., None], *resources: Any) -> list[str]:
    """The fields that the check complains about."""
    try:
        check(*resources)
    except InvalidRequest as refusal:
        return [violation.field for violation in refusal.violations]
    return []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, None),
        ({"features": ("length", "is_code")}, None),
        ({"dimension": 62}, None),
        ({"learner": "linucb:alpha=0.5,ridge=2"}, None),
        ({"exploration": "igw:tau=10"}, None),
        ({"seed": -(2**63)}, None),
        ({"pool_id": ""}, "pool.pool_id"),
        ({"pool_id": "a b"}, "pool.pool_id"),
        ({"pool_id": "-a"}, "pool.pool_id"),
        ({"pool_id": "a" * 129}, "pool.pool_id"),
        ({"pool_id": "a\n"}, "pool.pool_id"),
        ({"dimension": 0}, "pool.dimension"),
        ({"dimension": 63}, "pool.dimension"),
        ({"dimension": 62, "features": ("a",)}, "pool.dimension"),
        ({"features": ("not a name",)}, "pool.features"),
        ({"features": ("a", "a")}, "pool.features"),
        ({"learner": "oracle"}, "pool.learner"),
        ({"learner": "linucb:ridge=0"}, "pool.learner"),
        ({"exploration": "igw:tau=0"}, "pool.exploration"),
        ({"seed": 2**63}, "pool.seed"),
        ({"apprentice_share": 0.1}, "pool.baseline_arm_id"),
        ({"holdout_share": 0.1}, "pool.baseline_arm_id"),
        ({"holdout_share": 0.4, "apprentice_share": 0.6, "baseline_arm_id": "small"}, None),
        ({"holdout_share": 0.5, "apprentice_share": 0.6, "baseline_arm_id": "small"}, "pool.holdout_share"),
        ({"apprentice_share": -0.1, "baseline_arm_id": "small"}, "pool.apprentice_share"),
        ({"default_reward": 0.0, "default_reward_deadline_s": 0.5}, None),
        ({"default_reward": 1.0, "default_reward_deadline_s": 6 * 86_400.0}, None),
        ({"default_reward": 0.5}, "pool.default_reward_deadline"),
        ({"default_reward_deadline_s": 60.0}, "pool.default_reward_deadline"),
        ({"default_reward": 0.5, "default_reward_deadline_s": -1.0}, "pool.default_reward_deadline"),
        ({"default_reward": 0.5, "default_reward_deadline_s": 6 * 86_400.0 + 1.0}, "pool.default_reward_deadline"),
        ({"default_reward": 1.5, "default_reward_deadline_s": 60.0}, "pool.default_reward"),
        ({"default_reward": math.nan, "default_reward_deadline_s": 60.0}, "pool.default_reward"),
    ],
)
def test_rules_of_a_pool(fields: dict[str, Any], field: str | None) -> None:
    assert complaints(check_pool, make_pool(**fields)) == ([] if field is None else [field])


@pytest.mark.parametrize(
    ("arm", "field"),
    [
        (SMALL, None),
        (make_arm(prices=FREE), None),
        (make_arm("vendor/model:v1.2@eu", max_output_tokens=1), None),
        (make_arm(""), "arm.arm_id"),
        (make_arm("a b"), "arm.arm_id"),
        (make_arm(max_output_tokens=0), "arm.max_output_tokens"),
        (make_arm(max_output_tokens=10_000_001), "arm.max_output_tokens"),
        (make_arm(onboarding_nusd=-1), "arm.onboarding_nusd"),
        (make_arm(prices=TokenPrices(-1, 0, 0)), "arm.input_nusd_per_mtok"),
        (make_arm(prices=TokenPrices(0, MAX_PRICE_NUSD_PER_MTOK + 1, 0)), "arm.output_nusd_per_mtok"),
        (make_arm(prices=TokenPrices(0, 0, -1)), "arm.cached_input_nusd_per_mtok"),
    ],
)
def test_rules_of_an_arm(arm: Any, field: str | None) -> None:
    assert complaints(check_arm, arm) == ([] if field is None else [field])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, None),
        ({"limit_nusd": 0}, None),
        ({"limit_nusd": MAX_LIMIT_NUSD}, None),
        ({"budget_policy": "none"}, None),
        ({"window": WindowRule(WindowKind.MONTH, "Australia/Lord_Howe", 28, True)}, None),
        ({"window": WindowRule(WindowKind.WEEK, start_day=7)}, None),
        ({"window": WindowRule(WindowKind.MONTH, start_day=31)}, None),
        ({"tenant_id": "acme/search", "parent_tenant_id": "acme"}, None),
        ({"tenant_id": "acme/search", "parent_tenant_id": "globex"}, "tenant.parent_tenant_id"),
        ({"tenant_id": "acme/search/eu", "parent_tenant_id": "acme/search"}, "tenant.parent_tenant_id"),
        ({"tenant_id": "acme", "parent_tenant_id": "acme"}, "tenant.parent_tenant_id"),
        ({"session_cap_nusd": -1}, "tenant.session_cap_nusd"),
        ({"session_cap_nusd": MAX_LIMIT_NUSD + 1}, "tenant.session_cap_nusd"),
        ({"alert_percents": (50, 80, 100)}, None),
        ({"alert_percents": (80, 50)}, "tenant.alert_percents"),
        ({"alert_percents": (50, 50)}, "tenant.alert_percents"),
        ({"alert_percents": (0,)}, "tenant.alert_percents"),
        ({"alert_percents": (101,)}, "tenant.alert_percents"),
        ({"tenant_id": "a b"}, "tenant.tenant_id"),
        ({"pool_id": ""}, "tenant.pool_id"),
        ({"limit_nusd": -1}, "tenant.limit_nusd"),
        ({"limit_nusd": MAX_LIMIT_NUSD + 1}, "tenant.limit_nusd"),
        ({"budget_policy": "hope"}, "tenant.budget_policy"),
        ({"expected_calls": -1}, "tenant.expected_calls"),
        ({"hold_ttl_s": 0.0}, "tenant.hold_ttl"),
        ({"hold_ttl_s": MAX_HOLD_TTL_S * 1.01}, "tenant.hold_ttl"),
        ({"hold_ttl_s": float("nan")}, "tenant.hold_ttl"),
        ({"outage_policy": OutagePolicy.FAIL_OPEN, "outage_allowance_nusd": 1}, None),
        ({"outage_policy": OutagePolicy.FAIL_OPEN}, "tenant.outage_allowance_nusd"),
        ({"isolated": True}, None),
        ({"window": WindowRule(WindowKind.DAY, start_day=2)}, "tenant.window.start_day"),
        ({"window": WindowRule(WindowKind.WEEK, start_day=8)}, "tenant.window.start_day"),
        ({"window": WindowRule(WindowKind.MONTH, start_day=32)}, "tenant.window.start_day"),
        ({"window": WindowRule(WindowKind.MONTH, start_day=0)}, "tenant.window.start_day"),
        ({"window": WindowRule(time_zone="Mars/Olympus")}, "tenant.window.time_zone"),
        ({"window": WindowRule(time_zone="")}, "tenant.window.time_zone"),
        ({"window": WindowRule(time_zone="Europe")}, "tenant.window.time_zone"),
        ({"window": WindowRule(time_zone="../UTC")}, "tenant.window.time_zone"),
        ({"window": WindowRule(time_zone="a\0b")}, "tenant.window.time_zone"),
    ],
)
def test_rules_of_a_tenant(fields: dict[str, Any], field: str | None) -> None:
    assert complaints(check_tenant, make_tenant(**fields)) == ([] if field is None else [field])


def test_all_broken_rules_are_named_together() -> None:
    assert complaints(check_tenant, make_tenant("", limit_nusd=-1, expected_calls=-1)) == [
        "tenant.tenant_id",
        "tenant.limit_nusd",
        "tenant.expected_calls",
    ]


def test_a_fallback_is_an_arm_of_the_pool_that_costs_nothing() -> None:
    arms = (SMALL, make_arm("zero", prices=FREE), make_arm("half", prices=TokenPrices(0, 0, 1)))
    for name, holds in (("", True), ("zero", True), ("small", False), ("half", False), ("unknown", False)):
        assert (complaints(check_fallback, make_tenant(fallback_arm_id=name), arms) == []) == holds
