"""Which accounts a tenant's money moves in: its own, its organisation's, and that of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bandit_router.core.resources import Tenant, WindowRule
from bandit_router.core.windows import Window, window_at
from bandit_router.ports.ledger import BudgetAlert, Level
from bandit_router.ports.observer import Observer

FindWindow = Callable[[WindowRule, int], Window]

SESSION = Window(start_ms=0)
"""A session has no window of its own: one total, until it is forgotten."""


def own_level(tenant: Tenant, now_ms: int, find: FindWindow = window_at) -> Level:
    """The tenant's account in its present window, as `find` knows it."""
    return Level(
        account_id=tenant.tenant_id,
        window=find(tenant.window, now_ms),
        carry_over=tenant.window.carry_over,
        shadow=tenant.shadow,
        alert_percents=tenant.alert_percents,
    )


def levels_of(
    tenant: Tenant, parent: Tenant | None, *, session_id: str, now_ms: int, find: FindWindow = window_at
) -> tuple[Level, ...]:
    """All accounts that must have the money for a decision, the tenant's own first."""
    levels = [own_level(tenant, now_ms, find)]
    if parent is not None:
        levels.append(own_level(parent, now_ms, find))
    if session_id and tenant.session_cap_nusd:
        levels.append(
            Level(
                account_id=tenant.tenant_id,
                window=SESSION,
                shadow=tenant.shadow,
                session_id=session_id,
                cap_nusd=tenant.session_cap_nusd,
            )
        )
    return tuple(levels)


def tell_alerts(observer: Observer, alerts: Iterable[BudgetAlert]) -> None:
    """Count and log alerts; the ledger has put them in the audit trail, once each."""
    for alert in alerts:
        account = alert.budget.account
        observer.count("budget_alerts", tenant=alert.account_id, percent=str(alert.percent))
        observer.note(
            "budget_alert",
            tenant_id=alert.account_id,
            percent=alert.percent,
            limit_nusd=account.limit_nusd,
            spent_nusd=account.spent_nusd,
            held_nusd=account.held_nusd,
        )
