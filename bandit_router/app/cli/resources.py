"""`bandit-router pool|arm|tenant …`: the configured resources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bandit_router.app.cli.session import DEFAULT_TARGET, DryRun, Etag, Json, Target, connect, show, without_unset
from bandit_router.core.money import MoneyError, usd_to_nusd
from bandit_router.core.resources import WindowKind

pools = typer.Typer(help="Pools: named sets of arms with one learner.", no_args_is_help=True)
arms = typer.Typer(help="Arms: the models of a pool.", no_args_is_help=True)
tenants = typer.Typer(help="Tenants: budget accounts.", no_args_is_help=True)

_POOL = ("pool_id", "encoder_id", "dimension", "learner", "exploration", "etag")
_ARM = ("arm_id", "input_usd_per_mtok", "output_usd_per_mtok", "max_output_tokens", "enabled", "draining", "etag")
_TENANT = ("tenant_id", "pool_id", "budget_policy", "limit_nusd", "window.kind", "expected_calls", "etag")
_PAGE = 1000

PoolId = Annotated[str, typer.Argument(help="The pool's id.")]
ArmId = Annotated[str, typer.Argument(help="The arm's id.")]
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]


@pools.command("create")
def create_pool(
    pool_id: PoolId,
    encoder: Annotated[str | None, typer.Option(help="static, sentence-transformers:NAME, vector:DIM.")] = None,
    dimension: Annotated[int | None, typer.Option(help="Coordinates of the projected embedding.")] = None,
    learner: Annotated[str | None, typer.Option(help="Such as linucb or linucb:alpha=0.2.")] = None,
    exploration: Annotated[str | None, typer.Option(help="Such as igw or igw:tau=800.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Arm of the two shares.")] = None,
    holdout_share: Annotated[float | None, typer.Option(help="Share of calls that it answers for good.")] = None,
    apprentice_share: Annotated[float | None, typer.Option(help="Share that it answers, the policy alongside.")] = None,
    default_reward: Annotated[float | None, typer.Option(help="Assumed of answers that get no reward.")] = None,
    default_reward_after: Annotated[float | None, typer.Option(help="Seconds from the decision until then.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="A structured feature; repeatable.")] = None,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Create a pool."""
    pool = without_unset(
        pool_id=pool_id,
        encoder_id=encoder,
        dimension=dimension,
        learner=learner,
        exploration=exploration,
        seed=seed,
        baseline_arm_id=baseline,
        holdout_share=holdout_share,
        apprentice_share=apprentice_share,
        default_reward=default_reward,
        default_reward_deadline=None if default_reward_after is None else f"{default_reward_after:.3f}s",
        features=feature,
    )
    with connect(target) as client:
        response = client.call("CreatePool", {"pool": pool, "dry_run": dry_run})
        show(response["pool"], _POOL, as_json=json_output)


@pools.command("list")
def list_pools(target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """List all pools."""
    with connect(target) as client:
        show(client.call("ListPools", {"page_size": _PAGE})["pools"], _POOL, as_json=json_output)


@pools.command("delete")
def delete_pool(pool_id: PoolId, target: Target = DEFAULT_TARGET, etag: Etag = "", dry_run: DryRun = False) -> None:
    """Remove a pool with its arms and what it has learned."""
    with connect(target) as client:
        client.call("DeletePool", {"pool_id": pool_id, "etag": etag, "dry_run": dry_run})


@pools.command("freeze")
def freeze_pool(
    pool_id: PoolId,
    off: Annotated[bool, typer.Option("--off", help="Resume learning.")] = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Stop learning, or resume it; what comes in meanwhile is learned then."""
    with connect(target) as client:
        client.call("FreezeLearning", {"pool_id": pool_id, "frozen": not off})


@pools.command("fit-projection")
def fit_projection(
    pool_id: PoolId,
    source: Annotated[Path, typer.Option("--from", help="A text file, one query a line.", exists=True)],
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
) -> None:
    """Fit the pool's projection on a sample of queries. Its learning starts again."""
    texts = [line for line in source.read_text().splitlines() if line.strip()]
    with connect(target) as client:
        response = client.call("FitProjection", {"pool_id": pool_id, "texts": texts})
        show(response, ("version", "samples"), as_json=json_output)


@arms.command("put")
def put_arm(
    pool_id: PoolId,
    arm_id: ArmId,
    input_price: Annotated[str, typer.Option("--input", help="USD per million input tokens.")],
    output_price: Annotated[str, typer.Option("--output", help="USD per million output tokens.")],
    cached_input_price: Annotated[str | None, typer.Option("--cached-input", help="USD per million.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
    onboarding_usd: Annotated[str | None, typer.Option(help="USD to spend on trying it while it is new.")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Never choose it.")] = False,
    draining: Annotated[bool, typer.Option("--draining", help="Choose it no more, keep learning.")] = False,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
    etag: Etag = "",
    dry_run: DryRun = False,
) -> None:
    """Create an arm, or replace its settings."""
    arm = without_unset(
        arm_id=arm_id,
        input_usd_per_mtok=input_price,
        output_usd_per_mtok=output_price,
        cached_input_usd_per_mtok=cached_input_price,
        max_output_tokens=max_output_tokens,
        onboarding_nusd=None if onboarding_usd is None else parse_usd(onboarding_usd, "--onboarding-usd"),
        enabled=not disabled,
        draining=draining,
        etag=etag,
    )
    with connect(target) as client:
        response = client.call("PutArm", {"pool_id": pool_id, "arm": arm, "dry_run": dry_run})
        show(response["arm"], _ARM, as_json=json_output)


@arms.command("list")
def list_arms(pool_id: PoolId, target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """List the arms of a pool."""
    with connect(target) as client:
        response = client.call("ListArms", {"pool_id": pool_id, "page_size": _PAGE})
        show(response["arms"], _ARM, as_json=json_output)


@arms.command("remove")
def remove_arm(
    pool_id: PoolId, arm_id: ArmId, target: Target = DEFAULT_TARGET, etag: Etag = "", dry_run: DryRun = False
) -> None:
    """Remove an arm; feedback for its decisions is still taken."""
    with connect(target) as client:
        client.call("RemoveArm", {"pool_id": pool_id, "arm_id": arm_id, "etag": etag, "dry_run": dry_run})


@tenants.command("create")
def create_tenant(
    tenant_id: TenantId,
    pool: Annotated[str, typer.Option(help="The pool that it routes over.")],
    limit_usd: Annotated[str, typer.Option(help="Money per window, decimal USD.")],
    window: Annotated[WindowKind | None, typer.Option(help="Budget period.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA zone of the window.")] = None,
    start_day: Annotated[int | None, typer.Option(help="ISO weekday, or day of the month.")] = None,
    carry_over: Annotated[bool, typer.Option("--carry-over", help="Add what the last window left.")] = False,
    expected_calls: Annotated[int | None, typer.Option(help="Calls per window; else forecast.")] = None,
    budget_policy: Annotated[str | None, typer.Option(help="replan, threshold, primal_dual or none.")] = None,
    fallback_arm: Annotated[str | None, typer.Option(help="A free arm for when no money is left.")] = None,
    isolated: Annotated[bool, typer.Option("--isolated", help="Keep what it teaches from other tenants.")] = False,
    parent: Annotated[str | None, typer.Option(help="Organisation that pays too: acme, for tenant acme/x.")] = None,
    session_cap_usd: Annotated[str | None, typer.Option(help="Most money per session, decimal USD.")] = None,
    alert_percent: Annotated[list[int] | None, typer.Option(help="Tell when so much is used; repeatable.")] = None,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Create a tenant."""
    rule = without_unset(
        kind=None if window is None else f"WINDOW_KIND_{window.name}",
        time_zone=time_zone,
        start_day=start_day,
        carry_over=carry_over,
    )
    tenant = without_unset(
        tenant_id=tenant_id,
        pool_id=pool,
        limit_nusd=parse_usd(limit_usd, "--limit-usd"),
        window=rule,
        expected_calls=expected_calls,
        budget_policy=budget_policy,
        fallback_arm_id=fallback_arm,
        isolated=isolated,
        parent_tenant_id=parent,
        session_cap_nusd=None if session_cap_usd is None else parse_usd(session_cap_usd, "--session-cap-usd"),
        alert_percents=alert_percent,
    )
    with connect(target) as client:
        response = client.call("CreateTenant", {"tenant": tenant, "dry_run": dry_run})
        show(response["tenant"], _TENANT, as_json=json_output)


@tenants.command("list")
def list_tenants(target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """List all tenants (the first thousand)."""
    with connect(target) as client:
        show(client.call("ListTenants", {"page_size": _PAGE})["tenants"], _TENANT, as_json=json_output)


@tenants.command("delete")
def delete_tenant(
    tenant_id: TenantId, target: Target = DEFAULT_TARGET, etag: Etag = "", dry_run: DryRun = False
) -> None:
    """Remove a tenant and its account."""
    with connect(target) as client:
        client.call("DeleteTenant", {"tenant_id": tenant_id, "etag": etag, "dry_run": dry_run})


def parse_usd(text: str, option: str) -> int:
    """Nano-USD of an option's value; a bad one is a usage error."""
    try:
        return usd_to_nusd(text)
    except MoneyError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
