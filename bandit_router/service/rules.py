"""What a pool, an arm and a tenant may look like. Each check raises InvalidRequest naming every field and its rule."""

from __future__ import annotations

import re
from dataclasses import asdict
from zoneinfo import ZoneInfo

from bandit_router.core.budget import LimitError, check_limit
from bandit_router.core.budget_policies.registry import parse_budget_policy
from bandit_router.core.context import MAX_CONTEXT_DIMENSION, context_dimension
from bandit_router.core.errors import FieldViolation, InvalidRequest
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.money import MAX_LIMIT_NUSD, MAX_PRICE_NUSD_PER_MTOK
from bandit_router.core.partition import organisation_of
from bandit_router.core.resources import Arm, OutagePolicy, Pool, Tenant, WindowKind, WindowRule
from bandit_router.core.spec import SpecError

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}")
FEATURE_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
MAX_OUTPUT_TOKENS = 10_000_000
MAX_DEFAULT_DEADLINE_S = 6 * 24 * 3600.0
"""A day less than decisions' records outlive their hold's deadline (`route.KEEP_RECORDS_MS`)."""

MAX_HOLD_TTL_S = 30 * 24 * 3600.0
_LAST_START_DAY = {WindowKind.WEEK: 7, WindowKind.MONTH: 31}


class Violations:
    """Collects broken rules, and raises them together."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def require(self, holds: object, field: str, description: str) -> None:
        """Note a violation unless `holds`."""
        if not holds:
            self._found.append(FieldViolation(field, description))

    def done(self) -> None:
        """Raise InvalidRequest if anything was noted."""
        if self._found:
            raise InvalidRequest(self._found)


def check_pool(pool: Pool) -> None:
    """Rules of a pool. Whether its encoder exists is checked by whoever can load it."""
    found = Violations()
    _require_id(found, "pool.pool_id", pool.pool_id)
    longest = MAX_CONTEXT_DIMENSION - context_dimension(0, len(pool.features))
    found.require(
        1 <= pool.dimension <= longest,
        "pool.dimension",
        f"must be in 1..{longest} with {len(pool.features)} features (a context has at most "
        f"{MAX_CONTEXT_DIMENSION} coordinates), got {pool.dimension}",
    )
    for name in pool.features:
        found.require(FEATURE_PATTERN.fullmatch(name), "pool.features", f"{name!r} is not an identifier")
    found.require(len(set(pool.features)) == len(pool.features), "pool.features", "names must be distinct")
    _require_spec(found, "pool.learner", lambda: parse_learner(pool.learner))
    _require_spec(found, "pool.exploration", lambda: parse_exploration(pool.exploration))
    found.require(-(2**63) <= pool.seed < 2**63, "pool.seed", "must fit in 64 bits")
    _check_shares(found, pool)
    _check_default(found, pool)
    found.done()


def check_arm(arm: Arm) -> None:
    """Rules of an arm."""
    found = Violations()
    _require_id(found, "arm.arm_id", arm.arm_id)
    found.require(
        1 <= arm.max_output_tokens <= MAX_OUTPUT_TOKENS,
        "arm.max_output_tokens",
        f"must be in 1..{MAX_OUTPUT_TOKENS}, got {arm.max_output_tokens}",
    )
    found.require(
        0 <= arm.onboarding_nusd <= MAX_LIMIT_NUSD,
        "arm.onboarding_nusd",
        f"must be in 0..{MAX_LIMIT_NUSD}, got {arm.onboarding_nusd}",
    )
    for name, price in asdict(arm.prices).items():
        found.require(
            0 <= price <= MAX_PRICE_NUSD_PER_MTOK,
            f"arm.{name}",
            f"must be in 0..{MAX_PRICE_NUSD_PER_MTOK} nano-USD per million tokens, got {price}",
        )
    found.done()


def check_tenant(tenant: Tenant) -> None:
    """Rules of a tenant."""
    found = Violations()
    _require_id(found, "tenant.tenant_id", tenant.tenant_id)
    _require_id(found, "tenant.pool_id", tenant.pool_id)
    try:
        check_limit(tenant.limit_nusd)
    except LimitError as refusal:
        found.require(None, "tenant.limit_nusd", str(refusal))
    _require_spec(found, "tenant.budget_policy", lambda: parse_budget_policy(tenant.budget_policy))
    found.require(tenant.expected_calls >= 0, "tenant.expected_calls", "must not be negative")
    found.require(
        0.0 < tenant.hold_ttl_s <= MAX_HOLD_TTL_S,
        "tenant.hold_ttl",
        f"must be positive and at most {MAX_HOLD_TTL_S:g} s, got {tenant.hold_ttl_s:g} s",
    )
    found.require(
        tenant.outage_policy is OutagePolicy.FAIL_CLOSED or tenant.outage_allowance_nusd > 0,
        "tenant.outage_allowance_nusd",
        "must be positive for a tenant that fails open",
    )
    _check_parent(found, tenant)
    found.require(
        0 <= tenant.session_cap_nusd <= MAX_LIMIT_NUSD,
        "tenant.session_cap_nusd",
        f"must be in 0..{MAX_LIMIT_NUSD}, got {tenant.session_cap_nusd}",
    )
    percents = tenant.alert_percents
    found.require(
        list(percents) == sorted(set(percents)) and all(1 <= p <= 100 for p in percents),
        "tenant.alert_percents",
        f"must be distinct, ascending, in 1..100, got {list(percents)}",
    )
    _check_window(found, tenant.window)
    found.done()


def _check_parent(found: Violations, tenant: Tenant) -> None:
    """A parent's budget lives in one partition with its tenants', which is why they are named under it."""
    parent_id = tenant.parent_tenant_id
    found.require(
        not parent_id or (parent_id == organisation_of(tenant.tenant_id) != tenant.tenant_id),
        "tenant.parent_tenant_id",
        f"must be what comes before the first '/' of the tenant's id, got {parent_id!r} for {tenant.tenant_id!r}",
    )


def check_fallback(tenant: Tenant, arms: tuple[Arm, ...]) -> None:
    """A fallback arm must be in the pool and free of charge."""
    if not tenant.fallback_arm_id:
        return
    found = Violations()
    arm = next((arm for arm in arms if arm.arm_id == tenant.fallback_arm_id), None)
    found.require(arm, "tenant.fallback_arm_id", f"is not an arm of pool {tenant.pool_id!r}")
    if arm is not None:
        found.require(
            not any(asdict(arm.prices).values()), "tenant.fallback_arm_id", "must name an arm whose prices are zero"
        )
    found.done()


def _check_shares(found: Violations, pool: Pool) -> None:
    """What is kept for the baseline arm. That the arm is in the pool is not asked: pools are made before their arms."""
    shares = {"pool.apprentice_share": pool.apprentice_share, "pool.holdout_share": pool.holdout_share}
    for field, share in shares.items():
        found.require(0.0 <= share <= 1.0, field, f"must be in [0, 1], got {share:g}")
    kept = sum(shares.values())
    found.require(kept <= 1.0, "pool.holdout_share", f"with apprentice_share must be at most 1 in all, got {kept:g}")
    found.require(not kept or pool.baseline_arm_id, "pool.baseline_arm_id", "is needed where it has a share")


def _check_default(found: Violations, pool: Pool) -> None:
    """Both or neither; and records outlive the deadline by a while, or there would be nothing to assume."""
    reward, deadline_s = pool.default_reward, pool.default_reward_deadline_s
    found.require(
        reward is None or 0.0 <= reward <= 1.0, "pool.default_reward", f"must be a number in [0, 1], got {reward}"
    )
    found.require(
        (reward is None) == (deadline_s == 0.0),
        "pool.default_reward_deadline",
        "must be given with default_reward, and only with it",
    )
    found.require(
        reward is None or deadline_s == 0.0 or 0.0 < deadline_s <= MAX_DEFAULT_DEADLINE_S,
        "pool.default_reward_deadline",
        f"must be positive and at most {MAX_DEFAULT_DEADLINE_S:g} s, got {deadline_s:g} s",
    )


def _check_window(found: Violations, rule: WindowRule) -> None:
    last_day = _LAST_START_DAY.get(rule.kind, 1)
    found.require(
        1 <= rule.start_day <= last_day,
        "tenant.window.start_day",
        f"must be in 1..{last_day} for a window of kind {rule.kind.name}, got {rule.start_day}",
    )
    try:
        ZoneInfo(rule.time_zone)
    except (KeyError, ValueError, OSError):
        found.require(None, "tenant.window.time_zone", f"{rule.time_zone!r} is not an IANA time zone")


def _require_id(found: Violations, field: str, value: str) -> None:
    found.require(
        ID_PATTERN.fullmatch(value),
        field,
        f"must be 1 to 128 of A-Z a-z 0-9 . _ : / @ - and start with a letter or digit, got {value!r}",
    )


def _require_spec(found: Violations, field: str, parse: object) -> None:
    assert callable(parse)
    try:
        parse()
    except SpecError as refusal:
        found.require(None, field, str(refusal))
