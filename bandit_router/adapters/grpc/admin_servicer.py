"""AdminService: pools, arms, tenants, budgets and the event log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from bandit_router.adapters.grpc import wire, wire_admin
from bandit_router.adapters.grpc.dead_events import DeadEvents
from bandit_router.adapters.grpc.errors import NotImplementedYet
from bandit_router.adapters.grpc.event_stream import EventStream
from bandit_router.adapters.grpc.state_stream import StateStream
from bandit_router.adapters.grpc.upload import receive
from bandit_router.adapters.grpc.validation import check
from bandit_router.adapters.grpc.wire_admin import arm_to_wire, pool_to_wire, tenant_to_wire
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.prior_codec import MAX_PRIOR_BYTES
from bandit_router.service.assembly import Services
from bandit_router.v1 import admin_pb2 as pb

ACTOR = "anonymous"
"""Who the audit names while calls carry no credential."""

DEFAULT_AUDIT_PAGE = 100

_R = TypeVar("_R", bound=Message)


class AdminServicer:
    """One handler per method; what is missing here is not offered. Requests have passed validation.

    `stopping` is set when the server drains: endless streams end then.
    """

    def __init__(self, services: Services, stopping: asyncio.Event) -> None:
        self._admin = services.admin
        self._budgets = services.budgets
        self._previews = services.previews
        self._projections = services.projections
        self._priors = services.priors
        self.stream_events = EventStream(services, stopping).stream
        states, letters = StateStream(services), DeadEvents(services)
        self.export_state, self.import_state = states.export, states.take_in
        self.list_dead_events, self.redrive_events = letters.list, letters.redrive

    # Pools

    async def create_pool(self, request: pb.CreatePoolRequest) -> pb.CreatePoolResponse:
        """A new pool."""
        stored = await self._admin.create_pool(wire_admin.pool_from_wire(request.pool), dry_run=request.dry_run)
        return pb.CreatePoolResponse(pool=pool_to_wire(stored.resource, stored.etag))

    async def get_pool(self, request: pb.GetPoolRequest) -> pb.GetPoolResponse:
        """A pool."""
        stored = await self._admin.get_pool(request.pool_id)
        return pb.GetPoolResponse(pool=pool_to_wire(stored.resource, stored.etag))

    async def list_pools(self, request: pb.ListPoolsRequest) -> pb.ListPoolsResponse:
        """A page of pools."""
        page = await self._admin.list_pools(page_size=request.page_size, page_token=request.page_token)
        pools = [pool_to_wire(stored.resource, stored.etag) for stored in page.items]
        return pb.ListPoolsResponse(pools=pools, next_page_token=page.next_token)

    async def update_pool(self, request: pb.UpdatePoolRequest) -> pb.UpdatePoolResponse:
        """Another setting of a pool."""
        pool, etag = request.pool, request.pool.etag
        if request.HasField("update_mask"):
            stored = await self._admin.get_pool(pool.pool_id)
            pool = _merged(pool, pool_to_wire(stored.resource, stored.etag), request.update_mask, "pool")
            check(pb.UpdatePoolRequest(pool=pool))
            etag = etag or stored.etag
        updated = await self._admin.update_pool(wire_admin.pool_from_wire(pool), etag=etag, dry_run=request.dry_run)
        return pb.UpdatePoolResponse(pool=pool_to_wire(updated.resource, updated.etag))

    async def delete_pool(self, request: pb.DeletePoolRequest) -> pb.DeletePoolResponse:
        """The end of a pool."""
        await self._admin.delete_pool(request.pool_id, etag=request.etag, dry_run=request.dry_run)
        return pb.DeletePoolResponse()

    async def freeze_learning(self, request: pb.FreezeLearningRequest) -> pb.FreezeLearningResponse:
        """No learning in a pool, or learning again."""
        stored = await self._admin.freeze_learning(request.pool_id, frozen=request.frozen, dry_run=request.dry_run)
        return pb.FreezeLearningResponse(pool=pool_to_wire(stored.resource, stored.etag))

    async def fit_projection(self, request: pb.FitProjectionRequest) -> pb.FitProjectionResponse:
        """Other coordinates for a pool's contexts."""
        if bool(request.texts) == bool(request.vectors):
            raise InvalidRequest.of("texts", "exactly one of texts and vectors must be given")
        if request.texts:
            fitted = await self._projections.fit_on_texts(request.pool_id, list(request.texts))
        else:
            vectors = [list(vector.values) for vector in request.vectors]
            fitted = await self._projections.fit_on_embeddings(request.pool_id, vectors)
        return pb.FitProjectionResponse(version=fitted.version, samples=fitted.samples)

    async def import_prior(self, requests: AsyncIterator[pb.ImportPriorRequest]) -> pb.ImportPriorResponse:
        """A prior that was fitted offline."""
        header, data = await receive(requests, most_bytes=MAX_PRIOR_BYTES)
        if header.format != pb.PRIOR_FORMAT_FITTED:
            raise NotImplementedYet("rows are fitted by `bandit-router prior fit`; import what it writes")
        imported = await self._priors.import_prior(header.pool_id, data, dry_run=header.dry_run)
        return wire_admin.imported_prior(imported)

    async def get_prior(self, request: pb.GetPriorRequest) -> pb.GetPriorResponse:
        """The prior of a pool."""
        return pb.GetPriorResponse(prior=wire_admin.prior_to_wire(await self._priors.get_prior(request.pool_id)))

    async def delete_prior(self, request: pb.DeletePriorRequest) -> pb.DeletePriorResponse:
        """The end of a pool's prior."""
        await self._priors.delete_prior(request.pool_id, dry_run=request.dry_run)
        return pb.DeletePriorResponse()

    # Arms

    async def put_arm(self, request: pb.PutArmRequest) -> pb.PutArmResponse:
        """A new arm, or another setting of one."""
        arm = wire_admin.arm_from_wire(request.arm)
        stored = await self._admin.put_arm(request.pool_id, arm, etag=request.arm.etag, dry_run=request.dry_run)
        return pb.PutArmResponse(arm=arm_to_wire(stored.resource, stored.etag))

    async def list_arms(self, request: pb.ListArmsRequest) -> pb.ListArmsResponse:
        """A page of arms."""
        page = await self._admin.list_arms(request.pool_id, page_size=request.page_size, page_token=request.page_token)
        arms = [arm_to_wire(stored.resource, stored.etag) for stored in page.items]
        return pb.ListArmsResponse(arms=arms, next_page_token=page.next_token)

    async def remove_arm(self, request: pb.RemoveArmRequest) -> pb.RemoveArmResponse:
        """The end of an arm."""
        await self._admin.remove_arm(request.pool_id, request.arm_id, etag=request.etag, dry_run=request.dry_run)
        return pb.RemoveArmResponse()

    # Tenants

    async def create_tenant(self, request: pb.CreateTenantRequest) -> pb.CreateTenantResponse:
        """A new tenant."""
        tenant = wire_admin.tenant_from_wire(request.tenant)
        stored = await self._admin.create_tenant(tenant, dry_run=request.dry_run)
        return pb.CreateTenantResponse(tenant=tenant_to_wire(stored.resource, stored.etag))

    async def get_tenant(self, request: pb.GetTenantRequest) -> pb.GetTenantResponse:
        """A tenant."""
        stored = await self._admin.get_tenant(request.tenant_id)
        return pb.GetTenantResponse(tenant=tenant_to_wire(stored.resource, stored.etag))

    async def list_tenants(self, request: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        """A page of tenants; those of other pools than the one asked for are left out of it."""
        page = await self._admin.list_tenants(page_size=request.page_size, page_token=request.page_token)
        tenants = [
            tenant_to_wire(stored.resource, stored.etag)
            for stored in page.items
            if request.pool_id in ("", stored.resource.pool_id)
        ]
        return pb.ListTenantsResponse(tenants=tenants, next_page_token=page.next_token)

    async def update_tenant(self, request: pb.UpdateTenantRequest) -> pb.UpdateTenantResponse:
        """Another setting of a tenant."""
        tenant, etag = request.tenant, request.tenant.etag
        if request.HasField("update_mask"):
            stored = await self._admin.get_tenant(tenant.tenant_id)
            tenant = _merged(tenant, tenant_to_wire(stored.resource, stored.etag), request.update_mask, "tenant")
            check(pb.UpdateTenantRequest(tenant=tenant))
            etag = etag or stored.etag
        updated = await self._admin.update_tenant(
            wire_admin.tenant_from_wire(tenant), etag=etag, dry_run=request.dry_run
        )
        return pb.UpdateTenantResponse(tenant=tenant_to_wire(updated.resource, updated.etag))

    async def delete_tenant(self, request: pb.DeleteTenantRequest) -> pb.DeleteTenantResponse:
        """The end of a tenant."""
        await self._admin.delete_tenant(request.tenant_id, etag=request.etag, dry_run=request.dry_run)
        return pb.DeleteTenantResponse()

    # Budgets

    async def get_budget(self, request: pb.GetBudgetRequest) -> pb.GetBudgetResponse:
        """The present window."""
        state = await self._budgets.get(request.tenant_id)
        return pb.GetBudgetResponse(budget=wire.budget(request.tenant_id, state))

    async def set_budget_limit(self, request: pb.SetBudgetLimitRequest) -> pb.SetBudgetLimitResponse:
        """Another limit."""
        state = await self._budgets.set_limit(
            request.tenant_id,
            request.limit_nusd,
            reason=request.reason,
            actor=ACTOR,
            edit_id=request.idempotency_key,
            dry_run=request.dry_run,
        )
        return pb.SetBudgetLimitResponse(budget=wire.budget(request.tenant_id, state))

    async def grant_budget(self, request: pb.GrantBudgetRequest) -> pb.GrantBudgetResponse:
        """More money in the present window."""
        state = await self._budgets.grant(
            request.tenant_id,
            request.amount_nusd,
            reason=request.reason,
            actor=ACTOR,
            edit_id=request.idempotency_key,
            dry_run=request.dry_run,
        )
        return pb.GrantBudgetResponse(budget=wire.budget(request.tenant_id, state))

    async def preview_budget(self, request: pb.PreviewBudgetRequest) -> pb.PreviewBudgetResponse:
        """What other limits would bring."""
        found = await self._previews.preview(request.tenant_id, list(request.limits_nusd))
        return pb.PreviewBudgetResponse(
            previews=[wire_admin.preview_to_wire(preview) for preview in found.previews],
            snapshot_version=found.snapshot_version,
            contexts=found.contexts,
        )

    async def reset_budget(self, request: pb.ResetBudgetRequest) -> pb.ResetBudgetResponse:
        """Spend written off."""
        state = await self._budgets.reset(
            request.tenant_id,
            reason=request.reason,
            actor=ACTOR,
            edit_id=request.idempotency_key,
            dry_run=request.dry_run,
        )
        return pb.ResetBudgetResponse(budget=wire.budget(request.tenant_id, state))

    async def list_budget_audit(self, request: pb.ListBudgetAuditRequest) -> pb.ListBudgetAuditResponse:
        """A page of the audit trail; the page after a full one may be empty."""
        page_size = request.page_size or DEFAULT_AUDIT_PAGE
        entries = await self._budgets.audit(request.tenant_id, after_id=request.page_token, page_size=page_size)
        next_token = entries[-1].entry_id if len(entries) == page_size else ""
        return pb.ListBudgetAuditResponse(
            entries=[wire_admin.audit_entry(entry) for entry in entries], next_page_token=next_token
        )


def _merged(given: _R, stored: _R, mask: FieldMask, name: str) -> _R:
    """The stored message with the fields of the mask taken from the one given. Raises InvalidRequest."""
    for path in mask.paths:
        if path.partition(".")[0] not in given.DESCRIPTOR.fields_by_name:
            raise InvalidRequest.of("update_mask", f"{path!r} is no field of a {name}")
    mask.MergeMessage(given, stored, replace_message_field=True, replace_repeated_field=True)
    return stored
