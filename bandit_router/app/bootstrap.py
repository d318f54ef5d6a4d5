"""Pools, arms and tenants declared in the configuration: created when a server starts, left alone where they exist."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from bandit_router.core.errors import AlreadyExists, FieldViolation, InvalidRequest, ResourceNotFound
from bandit_router.core.money import TokenPrices, parse_price, usd_to_nusd
from bandit_router.core.resources import (
    DEFAULT_DIMENSION,
    DEFAULT_HOLD_TTL_S,
    DEFAULT_LEARNER,
    DEFAULT_MAX_OUTPUT_TOKENS,
    Arm,
    ExpiryPolicy,
    HoldPolicy,
    OutagePolicy,
    Pool,
    Tenant,
    WindowRule,
)
from bandit_router.service.admin import MAX_PAGE, AdminService
from bandit_router.service.rules import check_arm, check_pool, check_tenant


def _checked_price(text: str) -> str:
    parse_price(text)
    return text


def _checked_amount(text: str) -> str:
    usd_to_nusd(text)
    return text


Price = Annotated[str, AfterValidator(_checked_price)]
"""Decimal USD per million tokens; a number may stand for the string."""

AmountUsd = Annotated[str, AfterValidator(_checked_amount)]
"""Decimal USD; a number may stand for the string."""


class Spec(BaseModel):
    """Base of what is declared. Keys that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class ArmSpec(Spec):
    """An arm; the cached price is the input price unless given."""

    arm_id: str
    input_usd_per_mtok: Price
    output_usd_per_mtok: Price
    cached_input_usd_per_mtok: Price | None = None
    max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS
    enabled: bool = True
    draining: bool = False
    tier: str = ""
    family: str = ""
    onboarding_usd: AmountUsd = "0"

    def arm(self) -> Arm:
        """The resource."""
        prices = TokenPrices(
            input_nusd_per_mtok=parse_price(self.input_usd_per_mtok),
            output_nusd_per_mtok=parse_price(self.output_usd_per_mtok),
            cached_input_nusd_per_mtok=parse_price(self.cached_input_usd_per_mtok or self.input_usd_per_mtok),
        )
        plain = self.model_dump(include={"arm_id", "max_output_tokens", "enabled", "draining", "tier", "family"})
        return Arm(prices=prices, onboarding_nusd=usd_to_nusd(self.onboarding_usd), **plain)


class PoolSpec(Spec):
    """A pool with its arms."""

    pool_id: str
    encoder_id: str = "static"
    dimension: int = DEFAULT_DIMENSION
    learner: str = DEFAULT_LEARNER
    exploration: str = "igw"
    seed: int = 0
    features: tuple[str, ...] = ()
    apprentice_share: float = 0.0
    holdout_share: float = 0.0
    baseline_arm_id: str = ""
    default_reward: float | None = None
    default_reward_deadline_s: float = 0.0
    arms: tuple[ArmSpec, ...] = ()

    def pool(self) -> Pool:
        """The resource."""
        return Pool(**self.model_dump(exclude={"arms"}))


class TenantSpec(Spec):
    """A tenant. Its limit is given in one of two units."""

    tenant_id: str
    pool_id: str
    limit_usd: AmountUsd | None = None
    limit_nusd: int | None = None
    budget_policy: str = "replan"
    window: WindowRule = WindowRule()
    expected_calls: int = 0
    hold_policy: HoldPolicy = HoldPolicy.WORST_CASE
    hold_ttl_s: float = DEFAULT_HOLD_TTL_S
    expiry_policy: ExpiryPolicy = ExpiryPolicy.CHARGE
    outage_policy: OutagePolicy = OutagePolicy.FAIL_CLOSED
    outage_allowance_nusd: int = 0
    fallback_arm_id: str = ""
    isolated: bool = False
    shadow: bool = False

    @model_validator(mode="after")
    def _check_limit(self) -> TenantSpec:
        if (self.limit_usd is None) == (self.limit_nusd is None):
            raise ValueError("exactly one of limit_usd and limit_nusd must be given")
        return self

    def tenant(self) -> Tenant:
        """The resource."""
        limit_nusd = usd_to_nusd(self.limit_usd) if self.limit_usd is not None else self.limit_nusd
        assert limit_nusd is not None
        plain = self.model_dump(exclude={"limit_usd", "limit_nusd", "window"})
        return Tenant(limit_nusd=limit_nusd, window=self.window, **plain)


def violations(pools: tuple[PoolSpec, ...], tenants: tuple[TenantSpec, ...]) -> list[FieldViolation]:
    """What breaks a rule of the service, by paths such as `pools.0.arms.1.max_output_tokens`."""
    found: list[FieldViolation] = []
    for number, pool in enumerate(pools):
        found += _broken(f"pools.{number}", partial(check_pool, pool.pool()))
        for position, arm in enumerate(pool.arms):
            found += _broken(f"pools.{number}.arms.{position}", partial(check_arm, arm.arm()))
    for number, tenant in enumerate(tenants):
        found += _broken(f"tenants.{number}", partial(check_tenant, tenant.tenant()))
    return found


async def declare(admin: AdminService, pools: tuple[PoolSpec, ...], tenants: tuple[TenantSpec, ...]) -> None:
    """Create what is missing. Raises InvalidRequest for what breaks a rule of the service."""
    for spec in pools:
        with suppress(AlreadyExists):
            await admin.create_pool(spec.pool(), dry_run=False)
        page = await admin.list_arms(spec.pool_id, page_size=MAX_PAGE, page_token="")
        known = {stored.resource.arm_id for stored in page.items}
        for arm in spec.arms:
            if arm.arm_id not in known:
                await admin.put_arm(spec.pool_id, arm.arm(), etag="", dry_run=False)
    for tenant in tenants:
        if not await _has_tenant(admin, tenant.tenant_id):
            with suppress(AlreadyExists):
                await admin.create_tenant(tenant.tenant(), dry_run=False)


def _broken(path: str, check: Callable[[], None]) -> list[FieldViolation]:
    try:
        check()
    except InvalidRequest as refusal:
        return [FieldViolation(f"{path}.{v.field.partition('.')[2]}", v.description) for v in refusal.violations]
    return []


async def _has_tenant(admin: AdminService, tenant_id: str) -> bool:
    try:
        await admin.get_tenant(tenant_id)
    except ResourceNotFound:
        return False
    return True
