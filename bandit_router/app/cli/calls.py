"""`bandit-router route|feedback` and `bandit-router budget …`: using the router from a shell."""

from __future__ import annotations

from typing import Annotated

import typer

from bandit_router.app.cli.resources import TenantId, parse_usd
from bandit_router.app.cli.session import DEFAULT_TARGET, Json, Target, connect, show, without_unset

budgets = typer.Typer(help="Budgets: the present window of a tenant.", no_args_is_help=True)

_BUDGET = (
    "limit_nusd",
    "spent_nusd",
    "held_nusd",
    "free_nusd",
    "overrun_nusd",
    "decisions",
    "price_per_usd",
    "window_start",
    "window_end",
)
_ROUTE = ("decision_id", "arm_id", "propensity", "expected_reward", "expected_cost_nusd", "hold_nusd", "reason")
_ARM_SCORES = (
    "arm_id",
    "expected_reward",
    "uncertainty",
    "expected_cost_nusd",
    "hold_nusd",
    "score",
    "propensity",
    "excluded_because",
)

Reason = Annotated[str, typer.Option("--reason", help="Kept in the audit trail.")]
EditKey = Annotated[str | None, typer.Option(help="Names the edit, so that a repetition changes nothing.")]


def route(
    text: Annotated[str, typer.Argument(help="The query.")],
    tenant: Annotated[str, typer.Option(help="Who pays.")],
    request_id: Annotated[str | None, typer.Option(help="Makes the call idempotent.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option(help="Longest answer wanted.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Allow only this arm; repeatable.")] = None,
    max_cost_usd: Annotated[str | None, typer.Option(help="Expected cost at most this.")] = None,
    min_reward: Annotated[float | None, typer.Option(help="Expected reward at least this.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the score of every arm.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Hold and log nothing.")] = False,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
) -> None:
    """Choose a model for a query."""
    request = without_unset(
        tenant_id=tenant,
        query=text,
        request_id=request_id,
        max_output_tokens=max_output_tokens,
        allowed_arm_ids=arm,
        max_cost_nusd=None if max_cost_usd is None else parse_usd(max_cost_usd, "--max-cost-usd"),
        min_expected_reward=min_reward,
        explain=explain,
        dry_run=dry_run,
    )
    with connect(target) as client:
        response = client.call("Route", request)
    show(response, _ROUTE, as_json=json_output)
    if explain and not json_output:
        show(response["arms"], _ARM_SCORES, as_json=False)


def feedback(
    decision_id: Annotated[str, typer.Argument(help="As Route gave it.")],
    tenant: Annotated[str, typer.Option(help="Whose decision it is.")],
    reward: Annotated[float | None, typer.Option(help="Quality of the answer, 0 to 1.")] = None,
    cost_usd: Annotated[str | None, typer.Option(help="The exact bill.")] = None,
    input_tokens: Annotated[int | None, typer.Option(help="Billed at list price unless --cost-usd.")] = None,
    output_tokens: Annotated[int | None, typer.Option(help="Billed at list price unless --cost-usd.")] = None,
    correct: Annotated[bool, typer.Option("--correct", help="Replace what was reported before.")] = False,
    retract: Annotated[bool, typer.Option("--retract", help="Take the reward back.")] = False,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
) -> None:
    """Report the bill and the reward of a decision."""
    usage = without_unset(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_nusd=None if cost_usd is None else parse_usd(cost_usd, "--cost-usd"),
    )
    request = without_unset(
        tenant_id=tenant,
        decision_id=decision_id,
        usage=usage or None,
        reward=reward,
        correct=correct,
        retract=retract,
    )
    with connect(target) as client:
        response = client.call("Feedback", request)
    show(response, ("status", "settled_cost_nusd", "released_nusd", "budget.free_nusd"), as_json=json_output)


@budgets.command("get")
def get_budget(tenant_id: TenantId, target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """Show the present window."""
    _show_budget("GetBudget", {"tenant_id": tenant_id}, target=target, as_json=json_output)


@budgets.command("set-limit")
def set_limit(
    tenant_id: TenantId,
    limit_usd: str,
    reason: Reason = "",
    key: EditKey = None,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
) -> None:
    """Set the limit of this window and the ones to come."""
    limit_nusd = parse_usd(limit_usd, "LIMIT_USD")
    request = without_unset(tenant_id=tenant_id, limit_nusd=limit_nusd, reason=reason, idempotency_key=key)
    _show_budget("SetBudgetLimit", request, target=target, as_json=json_output)


@budgets.command("grant")
def grant(
    tenant_id: TenantId,
    amount_usd: str,
    reason: Reason = "",
    key: EditKey = None,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
) -> None:
    """Add money to this window only."""
    amount_nusd = parse_usd(amount_usd, "AMOUNT_USD")
    request = without_unset(tenant_id=tenant_id, amount_nusd=amount_nusd, reason=reason, idempotency_key=key)
    _show_budget("GrantBudget", request, target=target, as_json=json_output)


@budgets.command("reset")
def reset(
    tenant_id: TenantId,
    reason: Reason = "",
    key: EditKey = None,
    target: Target = DEFAULT_TARGET,
    json_output: Json = False,
) -> None:
    """Write off what this window has spent."""
    request = without_unset(tenant_id=tenant_id, reason=reason, idempotency_key=key)
    _show_budget("ResetBudget", request, target=target, as_json=json_output)


@budgets.command("audit")
def audit(tenant_id: TenantId, target: Target = DEFAULT_TARGET, json_output: Json = False) -> None:
    """Show who changed the budget, when and why."""
    with connect(target) as client:
        entries = client.call("ListBudgetAudit", {"tenant_id": tenant_id, "page_size": 1000})["entries"]
    columns = ("edited_at", "kind", "amount_nusd", "actor", "reason", "before.limit_nusd", "after.limit_nusd")
    show(entries, columns, as_json=json_output)


def _show_budget(method: str, request: dict[str, object], *, target: str, as_json: bool) -> None:
    with connect(target) as client:
        show(client.call(method, request)["budget"], _BUDGET, as_json=as_json)
