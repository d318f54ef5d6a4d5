"""Budgets of tenants: the window as it stands, and audited edits that never lose usage."""

from __future__ import annotations

from collections.abc import Sequence

from bandit_router.core.budget import BudgetEditKind, LimitError
from bandit_router.core.errors import InvalidRequest, ResourceNotFound
from bandit_router.core.resources import Tenant
from bandit_router.core.windows import Window, window_at
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import AccountMissing, AuditEntry, BudgetEdit, BudgetState, Ledger
from bandit_router.service.directory import Directory
from bandit_router.service.pacing import Pacer

MAX_AUDIT_PAGE = 1_000
DEFAULT_AUDIT_PAGE = 100


class BudgetService:
    """Shows and edits the current window of a tenant."""

    def __init__(self, *, directory: Directory, pacer: Pacer, ledger: Ledger, clock: Clock) -> None:
        self._directory = directory
        self._pacer = pacer
        self._ledger = ledger
        self._clock = clock

    async def get(self, tenant_id: str) -> BudgetState:
        """The current window. Raises ResourceNotFound."""
        tenant, window = await self._current(tenant_id)
        try:
            return await self._ledger.budget(tenant_id, window, carry_over=tenant.window.carry_over)
        except AccountMissing:
            raise ResourceNotFound("tenant", tenant_id) from None

    async def set_limit(self, tenant_id: str, limit_nusd: int, *, reason: str, actor: str) -> BudgetState:
        """Set the limit of this window and the ones to come; it may lie below what is spent already."""
        return await self._edit(tenant_id, BudgetEditKind.SET_LIMIT, limit_nusd, reason, actor, field="limit_nusd")

    async def grant(self, tenant_id: str, amount_nusd: int, *, reason: str, actor: str) -> BudgetState:
        """Add money to this window only."""
        if amount_nusd <= 0:
            raise InvalidRequest.of("amount_nusd", f"must be positive, got {amount_nusd}")
        return await self._edit(tenant_id, BudgetEditKind.GRANT, amount_nusd, reason, actor, field="amount_nusd")

    async def reset(self, tenant_id: str, *, reason: str, actor: str) -> BudgetState:
        """Write off what this window has spent; holds stay. The audit trail keeps the amount."""
        return await self._edit(tenant_id, BudgetEditKind.RESET, 0, reason, actor, field="tenant_id")

    async def audit(self, tenant_id: str, *, after_id: str, page_size: int) -> Sequence[AuditEntry]:
        """Audit entries behind `after_id`, oldest first. Raises ResourceNotFound."""
        await self._directory.tenant(tenant_id)
        limit = min(page_size or DEFAULT_AUDIT_PAGE, MAX_AUDIT_PAGE)
        return await self._ledger.audit(tenant_id, after_id=after_id, limit=limit)

    async def _edit(
        self, tenant_id: str, kind: BudgetEditKind, amount_nusd: int, reason: str, actor: str, *, field: str
    ) -> BudgetState:
        tenant, window = await self._current(tenant_id)
        edit = BudgetEdit(tenant_id, kind, amount_nusd, reason, actor, edited_ms=self._clock.now_ms())
        try:
            budget = await self._ledger.edit_budget(edit, window, carry_over=tenant.window.carry_over)
        except LimitError as refusal:
            raise InvalidRequest.of(field, str(refusal)) from None
        except AccountMissing:
            raise ResourceNotFound("tenant", tenant_id) from None
        self._pacer.observe(tenant_id, budget)
        return budget

    async def _current(self, tenant_id: str) -> tuple[Tenant, Window]:
        tenant = await self._directory.tenant(tenant_id)
        return tenant, window_at(tenant.window, self._clock.now_ms())
