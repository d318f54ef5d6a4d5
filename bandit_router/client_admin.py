"""Administration through a client: pools, arms, tenants and budgets as plain values.

`Admin` and `AsyncAdmin` have the same methods: `client_admin_calls` says what each sends and makes of the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, Unpack

from google.protobuf.message import Message

from bandit_router import client_admin_calls as calls
from bandit_router.client_admin_calls import ArmFields, Call, PoolFields, TenantFields, Usd
from bandit_router.client_messages import Budget
from bandit_router.core.resources import Arm, Pool, Tenant

R = TypeVar("R")


class AsyncAdmin:
    """Administration for applications that run on an event loop. Every method raises RouterError."""

    def __init__(self, send: Callable[[str, Message], Awaitable[Any]]) -> None:
        """`send` gives the response of an AdminService method, or raises RouterError."""
        self._invoke = send

    async def create_pool(self, pool_id: str, **fields: Unpack[PoolFields]) -> Pool:
        """Make a pool, without arms."""
        return await self._send(calls.create_pool(pool_id, fields))

    async def get_pool(self, pool_id: str) -> Pool:
        """A pool."""
        return await self._send(calls.get_pool(pool_id))

    async def list_pools(self) -> list[Pool]:
        """All pools."""
        return await self._all(calls.list_pools)

    async def put_arm(
        self,
        pool_id: str,
        arm_id: str,
        *,
        input_usd_per_mtok: str,
        output_usd_per_mtok: str,
        **fields: Unpack[ArmFields],
    ) -> Arm:
        """Add an arm, or replace the one of that id."""
        return await self._send(
            calls.put_arm(pool_id, arm_id, prices=(input_usd_per_mtok, output_usd_per_mtok), fields=fields)
        )

    async def list_arms(self, pool_id: str) -> list[Arm]:
        """All arms of a pool."""
        return await self._all(partial(calls.list_arms, pool_id))

    async def remove_arm(self, pool_id: str, arm_id: str) -> None:
        """Take an arm out."""
        return await self._send(calls.remove_arm(pool_id, arm_id))

    async def create_tenant(
        self,
        tenant_id: str,
        pool_id: str,
        *,
        limit_usd: Usd | None = None,
        limit_nusd: int | None = None,
        **fields: Unpack[TenantFields],
    ) -> Tenant:
        """Make a tenant with a limit in one of the two units."""
        return await self._send(
            calls.create_tenant(tenant_id, pool_id, limit_usd=limit_usd, limit_nusd=limit_nusd, fields=fields)
        )

    async def get_tenant(self, tenant_id: str) -> Tenant:
        """A tenant."""
        return await self._send(calls.get_tenant(tenant_id))

    async def list_tenants(self) -> list[Tenant]:
        """All tenants."""
        return await self._all(calls.list_tenants)

    async def get_budget(self, tenant_id: str) -> Budget:
        """The present window."""
        return await self._send(calls.get_budget(tenant_id))

    async def set_budget_limit(
        self,
        tenant_id: str,
        *,
        limit_usd: Usd | None = None,
        limit_nusd: int | None = None,
        reason: str = "",
        idempotency_key: str = "",
    ) -> Budget:
        """Set the limit of this window and those to come, in one of the two units."""
        return await self._send(
            calls.set_budget_limit(
                tenant_id, limit_usd=limit_usd, limit_nusd=limit_nusd, reason=reason, idempotency_key=idempotency_key
            )
        )

    async def grant_budget(
        self,
        tenant_id: str,
        *,
        amount_usd: Usd | None = None,
        amount_nusd: int | None = None,
        reason: str = "",
        idempotency_key: str = "",
    ) -> Budget:
        """Add money to this window only, in one of the two units; once, however often it is sent with this key."""
        return await self._send(
            calls.grant_budget(
                tenant_id,
                amount_usd=amount_usd,
                amount_nusd=amount_nusd,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        )

    async def reset_budget(self, tenant_id: str, *, reason: str = "", idempotency_key: str = "") -> Budget:
        """Write off what this window has spent."""
        return await self._send(calls.reset_budget(tenant_id, reason=reason, idempotency_key=idempotency_key))

    async def _send(self, call: Call[R]) -> R:
        return call.read(await self._invoke(call.method, call.request))

    async def _all(self, page_at: Callable[[str], Call[tuple[list[R], str]]]) -> list[R]:
        found, token = await self._send(page_at(""))
        while token:
            page, token = await self._send(page_at(token))
            found += page
        return found


class Admin:
    """Administration for threads. Every method raises RouterError."""

    def __init__(self, send: Callable[[str, Message], Any]) -> None:
        """`send` gives the response of an AdminService method, or raises RouterError."""
        self._invoke = send

    def create_pool(self, pool_id: str, **fields: Unpack[PoolFields]) -> Pool:
        """Make a pool, without arms."""
        return self._send(calls.create_pool(pool_id, fields))

    def get_pool(self, pool_id: str) -> Pool:
        """A pool."""
        return self._send(calls.get_pool(pool_id))

    def list_pools(self) -> list[Pool]:
        """All pools."""
        return self._all(calls.list_pools)

    def put_arm(
        self,
        pool_id: str,
        arm_id: str,
        *,
        input_usd_per_mtok: str,
        output_usd_per_mtok: str,
        **fields: Unpack[ArmFields],
    ) -> Arm:
        """Add an arm, or replace the one of that id."""
        return self._send(
            calls.put_arm(pool_id, arm_id, prices=(input_usd_per_mtok, output_usd_per_mtok), fields=fields)
        )

    def list_arms(self, pool_id: str) -> list[Arm]:
        """All arms of a pool."""
        return self._all(partial(calls.list_arms, pool_id))

    def remove_arm(self, pool_id: str, arm_id: str) -> None:
        """Take an arm out."""
        return self._send(calls.remove_arm(pool_id, arm_id))

    def create_tenant(
        self,
        tenant_id: str,
        pool_id: str,
        *,
        limit_usd: Usd | None = None,
        limit_nusd: int | None = None,
        **fields: Unpack[TenantFields],
    ) -> Tenant:
        """Make a tenant with a limit in one of the two units."""
        return self._send(
            calls.create_tenant(tenant_id, pool_id, limit_usd=limit_usd, limit_nusd=limit_nusd, fields=fields)
        )

    def get_tenant(self, tenant_id: str) -> Tenant:
        """A tenant."""
        return self._send(calls.get_tenant(tenant_id))

    def list_tenants(self) -> list[Tenant]:
        """All tenants."""
        return self._all(calls.list_tenants)

    def get_budget(self, tenant_id: str) -> Budget:
        """The present window."""
        return self._send(calls.get_budget(tenant_id))

    def set_budget_limit(
        self,
        tenant_id: str,
        *,
        limit_usd: Usd | None = None,
        limit_nusd: int | None = None,
        reason: str = "",
        idempotency_key: str = "",
    ) -> Budget:
        """Set the limit of this window and those to come, in one of the two units."""
        return self._send(
            calls.set_budget_limit(
                tenant_id, limit_usd=limit_usd, limit_nusd=limit_nusd, reason=reason, idempotency_key=idempotency_key
            )
        )

    def grant_budget(
        self,
        tenant_id: str,
        *,
        amount_usd: Usd | None = None,
        amount_nusd: int | None = None,
        reason: str = "",
        idempotency_key: str = "",
    ) -> Budget:
        """Add money to this window only, in one of the two units; once, however often it is sent with this key."""
        return self._send(
            calls.grant_budget(
                tenant_id,
                amount_usd=amount_usd,
                amount_nusd=amount_nusd,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        )

    def reset_budget(self, tenant_id: str, *, reason: str = "", idempotency_key: str = "") -> Budget:
        """Write off what this window has spent."""
        return self._send(calls.reset_budget(tenant_id, reason=reason, idempotency_key=idempotency_key))

    def _send(self, call: Call[R]) -> R:
        return call.read(self._invoke(call.method, call.request))

    def _all(self, page_at: Callable[[str], Call[tuple[list[R], str]]]) -> list[R]:
        found, token = self._send(page_at(""))
        while token:
            page, token = self._send(page_at(token))
            found += page
        return found
