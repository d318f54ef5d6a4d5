"""Budgets of tenants: the window as it stands, and audited edits that never lose usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bandit_router.core.budget import BudgetEditKind, LimitError
from bandit_router.core.errors import InvalidRequest, ResourceNotFound
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import AccountMissing, AuditEntry, BudgetEdit, BudgetState, EditIdTaken, Ledger, Level
from bandit_router.service.directory import Directory
from bandit_router.service.levels import own_level
from bandit_router.service.pacing import Pacer
from bandit_router.service.schema_watch import SchemaWatch

MAX_AUDIT_PAGE = 1_000
DEFAULT_AUDIT_PAGE = 100


class BudgetService:
    """Shows and edits the current window of a tenant."""

    def __init__(
        self, *, directory: Directory, pacer: Pacer, ledger: Ledger, clock: Clock, schema: SchemaWatch
    ) -> None:
        self._schema = schema
        self._directory = directory
        self._pacer = pacer
        self._ledger = ledger
        self._clock = clock

    async def get(self, tenant_id: str) -> BudgetState:
        """The current window. Raises ResourceNotFound."""
        try:
            return await self._ledger.budget(await self._level(tenant_id))
        except AccountMissing:
            raise ResourceNotFound("tenant", tenant_id) from None

    async def set_limit(
        self, tenant_id: str, limit_nusd: int, *, reason: str, actor: str, edit_id: str = "", dry_run: bool = False
    ) -> BudgetState:
        """Set the limit of this window and the ones to come; it may lie below what is spent already.

        Of this edit and the others: one whose `edit_id` was seen before is not applied again; the present window is
        told. Raises InvalidRequest if the id was that of another edit.
        """
        edit = self._make_edit(tenant_id, BudgetEditKind.SET_LIMIT, limit_nusd, reason, actor, edit_id)
        return await self._apply(edit, field="limit_nusd", dry_run=dry_run)

    async def grant(
        self, tenant_id: str, amount_nusd: int, *, reason: str, actor: str, edit_id: str = "", dry_run: bool = False
    ) -> BudgetState:
        """Add money to this window only."""
        if amount_nusd <= 0:
            raise InvalidRequest.of("amount_nusd", f"must be positive, got {amount_nusd}")
        edit = self._make_edit(tenant_id, BudgetEditKind.GRANT, amount_nusd, reason, actor, edit_id)
        return await self._apply(edit, field="amount_nusd", dry_run=dry_run)

    async def reset(
        self, tenant_id: str, *, reason: str, actor: str, edit_id: str = "", dry_run: bool = False
    ) -> BudgetState:
        """Write off what this window has spent; holds stay. The audit trail keeps the amount."""
        edit = self._make_edit(tenant_id, BudgetEditKind.RESET, 0, reason, actor, edit_id)
        return await self._apply(edit, field="tenant_id", dry_run=dry_run)

    async def audit(self, tenant_id: str, *, after_id: str, page_size: int) -> Sequence[AuditEntry]:
        """Audit entries behind `after_id`, oldest first. Raises ResourceNotFound."""
        await self._directory.tenant(tenant_id)
        limit = min(page_size or DEFAULT_AUDIT_PAGE, MAX_AUDIT_PAGE)
        return await self._ledger.audit(tenant_id, after_id=after_id, limit=limit)

    def _make_edit(
        self, tenant_id: str, kind: BudgetEditKind, amount_nusd: int, reason: str, actor: str, edit_id: str
    ) -> BudgetEdit:
        return BudgetEdit(tenant_id, kind, amount_nusd, reason, actor, edited_ms=self._clock.now_ms(), edit_id=edit_id)

    async def _apply(self, edit: BudgetEdit, *, field: str, dry_run: bool) -> BudgetState:
        """The budget after the edit; a dry run only works it out."""
        level = await self._level(edit.tenant_id)
        try:
            if dry_run:
                budget = await self._ledger.budget(level)
                return replace(budget, account=budget.account.edit(edit.kind, edit.amount_nusd))
            self._schema.check()
            budget = await self._ledger.edit_budget(edit, level)
        except LimitError as refusal:
            raise InvalidRequest.of(field, str(refusal)) from None
        except EditIdTaken:
            raise InvalidRequest.of("idempotency_key", "belongs to another edit of this budget") from None
        except AccountMissing:
            raise ResourceNotFound("tenant", edit.tenant_id) from None
        self._pacer.observe(edit.tenant_id, budget)
        return budget

    async def _level(self, tenant_id: str) -> Level:
        return own_level(await self._directory.tenant(tenant_id), self._clock.now_ms())
