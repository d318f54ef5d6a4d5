"""Pools, arms, tenants and the audit trail: protobuf messages to core resources and back.

A zero or absent field means the default, as the protos say; what is sent back has all defaults filled in.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from bandit_router.adapters.grpc.wire import account, timestamp
from bandit_router.core.budget import BudgetEditKind
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.money import MoneyError, TokenPrices, format_price, parse_price, usd_to_nusd
from bandit_router.core.pool_prior import worth_of_rewards
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
from bandit_router.ports.ledger import AuditEntry
from bandit_router.service.preview import Preview
from bandit_router.service.priors import ImportedPrior
from bandit_router.v1 import admin_pb2, resources_pb2

_EDIT_KINDS = {kind: admin_pb2.BudgetEditKind.Value(f"BUDGET_EDIT_KIND_{kind.name}") for kind in BudgetEditKind}
_WINDOW_KINDS = {kind: resources_pb2.WindowKind.Value(f"WINDOW_KIND_{kind.name}") for kind in WindowKind}
_HOLD_POLICIES = {policy: resources_pb2.HoldPolicy.Value(f"HOLD_POLICY_{policy.name}") for policy in HoldPolicy}
_EXPIRY_POLICIES = {policy: resources_pb2.ExpiryPolicy.Value(f"EXPIRY_POLICY_{policy.name}") for policy in ExpiryPolicy}
_OUTAGE_POLICIES = {policy: resources_pb2.OutagePolicy.Value(f"OUTAGE_POLICY_{policy.name}") for policy in OutagePolicy}

_POOL_PLAIN = ("encoder_id", "dimension", "learner", "exploration", "seed", "apprentice_share", "holdout_share")
_TENANT_PLAIN = (
    "budget_policy",
    "expected_calls",
    "outage_allowance_nusd",
    "fallback_arm_id",
    "isolated",
    "shadow",
    "parent_tenant_id",
    "session_cap_nusd",
)


def pool_from_wire(message: resources_pb2.Pool) -> Pool:
    """The pool. `message` has passed validation; what only the server sets is ignored."""
    given = _given(message, *_POOL_PLAIN, "baseline_arm_id")
    if message.HasField("default_reward"):
        given["default_reward"] = message.default_reward
    if message.HasField("default_reward_deadline"):
        given["default_reward_deadline_s"] = _seconds(message.default_reward_deadline)
    return Pool(pool_id=message.pool_id, features=tuple(message.features), **given)


def pool_to_wire(pool: Pool, etag: str) -> resources_pb2.Pool:
    """The pool with its etag."""
    return resources_pb2.Pool(
        pool_id=pool.pool_id,
        features=pool.features,
        baseline_arm_id=pool.baseline_arm_id,
        default_reward=pool.default_reward,
        default_reward_deadline=_duration(pool.default_reward_deadline_s) if pool.default_reward_deadline_s else None,
        learning_frozen=pool.learning_frozen,
        etag=etag,
        **{name: getattr(pool, name) for name in _POOL_PLAIN},
    )


def arm_from_wire(message: resources_pb2.Arm) -> Arm:
    """The arm. Raises InvalidRequest for a price that cannot be held exactly."""
    input_price = _price("arm.input_usd_per_mtok", message.input_usd_per_mtok)
    cached_price = input_price
    if message.cached_input_usd_per_mtok:
        cached_price = _price("arm.cached_input_usd_per_mtok", message.cached_input_usd_per_mtok)
    prices = TokenPrices(
        input_nusd_per_mtok=input_price,
        output_nusd_per_mtok=_price("arm.output_usd_per_mtok", message.output_usd_per_mtok),
        cached_input_nusd_per_mtok=cached_price,
    )
    given = _given(message, "max_output_tokens", "draining", "tier", "family", "onboarding_nusd")
    if message.HasField("enabled"):
        given["enabled"] = message.enabled
    return Arm(arm_id=message.arm_id, prices=prices, **given)


def arm_to_wire(arm: Arm, etag: str) -> resources_pb2.Arm:
    """The arm with its etag."""
    return resources_pb2.Arm(
        arm_id=arm.arm_id,
        input_usd_per_mtok=format_price(arm.prices.input_nusd_per_mtok),
        output_usd_per_mtok=format_price(arm.prices.output_nusd_per_mtok),
        cached_input_usd_per_mtok=format_price(arm.prices.cached_input_nusd_per_mtok),
        max_output_tokens=arm.max_output_tokens,
        enabled=arm.enabled,
        draining=arm.draining,
        tier=arm.tier,
        family=arm.family,
        onboarding_nusd=arm.onboarding_nusd,
        etag=etag,
    )


def tenant_from_wire(message: resources_pb2.Tenant) -> Tenant:
    """The tenant. `message` has passed validation."""
    given = _given(message, *_TENANT_PLAIN)
    if message.HasField("hold_ttl"):
        given["hold_ttl_s"] = _seconds(message.hold_ttl)
    given |= _chosen(_HOLD_POLICIES, "hold_policy", message.hold_policy)
    given |= _chosen(_EXPIRY_POLICIES, "expiry_policy", message.expiry_policy)
    given |= _chosen(_OUTAGE_POLICIES, "outage_policy", message.outage_policy)
    return Tenant(
        tenant_id=message.tenant_id,
        pool_id=message.pool_id,
        limit_nusd=message.limit_nusd,
        window=_window_from_wire(message.window),
        alert_percents=tuple(sorted(message.alert_percents)),
        **given,
    )


def tenant_to_wire(tenant: Tenant, etag: str) -> resources_pb2.Tenant:
    """The tenant with its etag."""
    return resources_pb2.Tenant(
        tenant_id=tenant.tenant_id,
        pool_id=tenant.pool_id,
        limit_nusd=tenant.limit_nusd,
        window=_window_to_wire(tenant.window),
        alert_percents=tenant.alert_percents,
        hold_policy=_HOLD_POLICIES[tenant.hold_policy],
        hold_ttl=_duration(tenant.hold_ttl_s),
        expiry_policy=_EXPIRY_POLICIES[tenant.expiry_policy],
        outage_policy=_OUTAGE_POLICIES[tenant.outage_policy],
        etag=etag,
        **{name: getattr(tenant, name) for name in _TENANT_PLAIN},
    )


def audit_entry(entry: AuditEntry) -> admin_pb2.BudgetAuditEntry:
    """One line of the audit trail."""
    edit = entry.edit
    return admin_pb2.BudgetAuditEntry(
        entry_id=entry.entry_id,
        tenant_id=edit.tenant_id,
        kind=_EDIT_KINDS[edit.kind],
        amount_nusd=edit.amount_nusd,
        reason=edit.reason,
        actor=edit.actor,
        edited_at=timestamp(edit.edited_ms),
        before=account(edit.tenant_id, entry.before),
        after=account(edit.tenant_id, entry.after),
    )


def _window_from_wire(message: resources_pb2.Window) -> WindowRule:
    given = _given(message, "time_zone", "start_day", "carry_over")
    return WindowRule(**given, **_chosen(_WINDOW_KINDS, "kind", message.kind))


def _window_to_wire(rule: WindowRule) -> resources_pb2.Window:
    return resources_pb2.Window(
        kind=_WINDOW_KINDS[rule.kind], time_zone=rule.time_zone, start_day=rule.start_day, carry_over=rule.carry_over
    )


def _given(message: Message, *names: str) -> dict[str, Any]:
    """The fields among `names` that are not zero; the others are left to the resource's defaults."""
    return {name: value for name in names if (value := getattr(message, name))}


def _chosen(table: dict[Any, Any], name: str, number: int) -> dict[str, Any]:
    """The enum value behind `number`; nothing for the unspecified one."""
    return next(({name: value} for value, known in table.items() if known == number), {})


def _price(field: str, text: str) -> int:
    try:
        return parse_price(text)
    except MoneyError as refusal:
        raise InvalidRequest.of(field, str(refusal)) from None


def _seconds(duration: Duration) -> float:
    return duration.ToMilliseconds() / 1000


def _duration(seconds: float) -> Duration:
    message = Duration()
    message.FromMilliseconds(round(seconds * 1000))
    return message


def preview_to_wire(preview: Preview) -> admin_pb2.BudgetPreview:
    """A what-if answer."""
    cost_nusd = usd_to_nusd(f"{preview.expected_cost_usd:.12f}")
    return admin_pb2.BudgetPreview(
        limit_nusd=preview.limit_nusd,
        price_per_usd=preview.price_per_usd,
        expected_reward=preview.expected_reward,
        expected_cost_nusd=cost_nusd,
        expected_spend_nusd=usd_to_nusd(f"{preview.expected_cost_usd * preview.expected_calls:.12f}"),
        expected_calls=preview.expected_calls,
        arm_shares=preview.arm_shares,
    )


def imported_prior(imported: ImportedPrior) -> admin_pb2.ImportPriorResponse:
    """What became of a prior."""
    known = imported.own_arm_ids
    return admin_pb2.ImportPriorResponse(
        rows=len(known),
        rows_skipped=len(imported.prior.arms) - len(known),
        arm_ids=list(imported.arms),
        prior_version=imported.version,
    )


def prior_to_wire(imported: ImportedPrior) -> admin_pb2.Prior:
    """A prior without its numbers."""
    prior = imported.prior
    return admin_pb2.Prior(
        version=imported.version,
        in_force=imported.is_in_force,
        encoder_id=prior.encoder_id,
        dimension=prior.dimension,
        provenance=dict(prior.provenance),
        arms=[
            admin_pb2.ArmPrior(
                arm_id=arm_id,
                expected_reward=float(arm.mean[0]),
                worth_of_rewards=worth_of_rewards(arm),
                borrowed=arm_id not in prior.arms,
            )
            for arm_id, arm in imported.arms.items()
        ],
    )
