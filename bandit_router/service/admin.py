"""Administration of pools, arms and tenants: validated, versioned by etag, with dry runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from bandit_router.core.errors import AlreadyExists, Conflict, InvalidRequest, ResourceInUse, ResourceNotFound
from bandit_router.core.resources import Arm, Pool, Tenant
from bandit_router.core.schema import FIRST_SCHEMA, schema_needed
from bandit_router.ports.catalog import ABSENT, ANY_VERSION, Catalog, Document, Kind, VersionConflict
from bandit_router.ports.encoder import EncoderError
from bandit_router.ports.events import KEEP_NOTHING, EventLog
from bandit_router.ports.ledger import AccountMissing, Ledger
from bandit_router.ports.snapshots import SnapshotStore
from bandit_router.service.contexts import EncoderSource
from bandit_router.service.directory import Directory
from bandit_router.service.documents import arm_key, encode_resource, read_arm, read_pool, read_tenant, with_generation
from bandit_router.service.models import Models
from bandit_router.service.pacing import Pacer
from bandit_router.service.rules import check_arm, check_fallback, check_pool, check_tenant

MAX_ARMS = 64
MAX_PAGE = 1_000
MAX_MODIFICATIONS = 8
"""Attempts to replace a resource; each failure means that another change of it went through."""

DEFAULT_PAGE = 100

R = TypeVar("R", Pool, Arm, Tenant)


@dataclass(frozen=True, slots=True)
class Stored(Generic[R]):
    """A resource with its etag ('' in the answer to a dry run)."""

    resource: R
    etag: str


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a list in key order; `next_token` is '' on the last."""

    items: tuple[Stored[R], ...]
    next_token: str


class AdminService:
    """Creates, changes, lists and removes resources."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        directory: Directory,
        models: Models,
        pacer: Pacer,
        ledger: Ledger,
        events: EventLog,
        snapshots: SnapshotStore,
        encoders: EncoderSource,
    ) -> None:
        self._catalog = catalog
        self._directory = directory
        self._models = models
        self._pacer = pacer
        self._ledger = ledger
        self._events = events
        self._snapshots = snapshots
        self._encoders = encoders

    # Pools

    async def create_pool(self, pool: Pool, *, dry_run: bool) -> Stored[Pool]:
        """Store a new pool. Raises InvalidRequest, AlreadyExists."""
        check_pool(pool)
        self._check_encoder(pool)
        return await self._create(Kind.POOL, pool.pool_id, pool, dry_run=dry_run)

    async def get_pool(self, pool_id: str) -> Stored[Pool]:
        """The pool. Raises ResourceNotFound."""
        return _stored(await self._document(Kind.POOL, pool_id), read_pool)

    async def list_pools(self, *, page_size: int, page_token: str) -> Page[Pool]:
        """Pools in order of their ids."""
        return await self._list(Kind.POOL, read_pool, prefix="", page_size=page_size, page_token=page_token)

    async def update_pool(self, pool: Pool, *, etag: str, dry_run: bool) -> Stored[Pool]:
        """Replace a pool's settings. What its state was learned in (encoder, dimension, features) cannot change."""
        check_pool(pool)

        def change(stored: Pool) -> Pool:
            for name in ("encoder_id", "dimension", "features"):
                if getattr(pool, name) != getattr(stored, name):
                    raise InvalidRequest.of(f"pool.{name}", "cannot change once the pool exists; create another pool")
            return replace(pool, learning_frozen=stored.learning_frozen, generation=stored.generation)

        return await self._modify(Kind.POOL, pool.pool_id, read_pool, change, etag=etag, dry_run=dry_run)

    async def delete_pool(self, pool_id: str, *, etag: str, dry_run: bool) -> None:
        """Remove a pool with its arms, learned state and events. Raises ResourceInUse while tenants point at it."""
        await self._document(Kind.POOL, pool_id)
        await self._directory.refresh()
        if tenants := self._directory.tenants_of(pool_id):
            raise ResourceInUse(f"pool {pool_id!r} is used by tenant {tenants[0]!r} and {len(tenants) - 1} others")
        arms = await self.list_arms(pool_id, page_size=MAX_PAGE, page_token="")
        await self._remove(Kind.POOL, pool_id, etag=etag, dry_run=dry_run)
        if dry_run:
            return
        for stored in arms.items:
            await self._remove(Kind.ARM, arm_key(pool_id, stored.resource.arm_id), etag="", dry_run=False)
        await self._catalog.delete(Kind.PROJECTION, pool_id, expected_version=ANY_VERSION)
        await self._catalog.delete(Kind.PRIOR, pool_id, expected_version=ANY_VERSION)
        await self._snapshots.delete(pool_id)
        last = await self._events.last(pool_id)
        while await self._events.trim(pool_id, last, KEEP_NOTHING):
            pass
        self._models.forget(pool_id)
        await self._directory.refresh()

    async def freeze_learning(self, pool_id: str, *, frozen: bool, dry_run: bool = False) -> Stored[Pool]:
        """Stop or resume folding the pool's events; none is lost meanwhile."""
        change = partial(replace, learning_frozen=frozen)
        return await self._modify(Kind.POOL, pool_id, read_pool, change, etag="", dry_run=dry_run)

    # Arms

    async def put_arm(self, pool_id: str, arm: Arm, *, etag: str, dry_run: bool) -> Stored[Arm]:
        """Create or replace an arm. Raises InvalidRequest, ResourceNotFound, Conflict."""
        check_arm(arm)
        await self._document(Kind.POOL, pool_id)
        key = arm_key(pool_id, arm.arm_id)
        arms = await self.list_arms(pool_id, page_size=MAX_PAGE, page_token="")
        if len(arms.items) >= MAX_ARMS and all(s.resource.arm_id != arm.arm_id for s in arms.items):
            raise InvalidRequest.of("pool_id", f"a pool has at most {MAX_ARMS} arms")
        return await self._update(Kind.ARM, key, arm, etag=etag, dry_run=dry_run)

    async def list_arms(self, pool_id: str, *, page_size: int, page_token: str) -> Page[Arm]:
        """Arms of a pool in order of their ids. Raises ResourceNotFound."""
        await self._document(Kind.POOL, pool_id)
        prefix = arm_key(pool_id, "")
        return await self._list(Kind.ARM, read_arm, prefix=prefix, page_size=page_size, page_token=page_token)

    async def remove_arm(self, pool_id: str, arm_id: str, *, etag: str, dry_run: bool) -> None:
        """Remove an arm; feedback for its decisions is still taken. What it learned is kept for its return."""
        await self._remove(Kind.ARM, arm_key(pool_id, arm_id), etag=etag, dry_run=dry_run)

    # Tenants

    async def create_tenant(self, tenant: Tenant, *, dry_run: bool) -> Stored[Tenant]:
        """Store a tenant and open its account. Raises InvalidRequest, AlreadyExists, ResourceNotFound (pool)."""
        await self._check_tenant(tenant)
        try:
            stored = await self._create(Kind.TENANT, tenant.tenant_id, tenant, dry_run=dry_run)
        except AlreadyExists:
            await self._complete_creation(tenant.tenant_id)
            raise
        if not dry_run:
            await self._ledger.open_account(tenant.tenant_id, tenant.limit_nusd, int(stored.etag))
        return stored

    async def _complete_creation(self, tenant_id: str) -> None:
        """Open the account of a tenant whose creation was cut short before it; one that is open is left as it is."""
        tenant = read_tenant(await self._document(Kind.TENANT, tenant_id))
        await self._ledger.open_account(tenant_id, tenant.limit_nusd, tenant.generation)

    async def get_tenant(self, tenant_id: str) -> Stored[Tenant]:
        """The tenant, with the limit in force. Raises ResourceNotFound."""
        stored = _stored(await self._document(Kind.TENANT, tenant_id), read_tenant)
        return await self._with_limit(stored)

    async def list_tenants(self, *, page_size: int, page_token: str) -> Page[Tenant]:
        """Tenants in order of their ids, with the limits in force."""
        page = await self._list(Kind.TENANT, read_tenant, prefix="", page_size=page_size, page_token=page_token)
        return Page(tuple([await self._with_limit(stored) for stored in page.items]), page.next_token)

    async def update_tenant(self, tenant: Tenant, *, etag: str, dry_run: bool) -> Stored[Tenant]:
        """Replace a tenant's settings. The limit is changed by SetBudgetLimit only, so that it is audited."""
        await self._check_tenant(tenant)
        limit_nusd = (await self.get_tenant(tenant.tenant_id)).resource.limit_nusd
        if tenant.limit_nusd != limit_nusd:
            raise InvalidRequest.of("tenant.limit_nusd", "is changed by SetBudgetLimit, which audits it")

        def change(stored: Tenant) -> Tenant:
            return replace(tenant, generation=stored.generation)

        updated = await self._modify(Kind.TENANT, tenant.tenant_id, read_tenant, change, etag=etag, dry_run=dry_run)
        if not dry_run:
            self._pacer.forget(tenant.tenant_id)
        return updated

    async def delete_tenant(self, tenant_id: str, *, etag: str, dry_run: bool) -> None:
        """Remove a tenant and its account. Raises ResourceInUse while other tenants are under it.

        May be repeated after a fault: what is left of the account of a tenant that is gone is closed.
        """
        document = await self._catalog.get(Kind.TENANT, tenant_id)
        if document is None:
            generation = await self._leftover(tenant_id)
        else:
            generation = read_tenant(document).generation
            await self._check_childless(tenant_id)
            await self._remove(Kind.TENANT, tenant_id, etag=etag, dry_run=dry_run)
        if not dry_run:
            await self._ledger.close_account(tenant_id, generation)
            self._pacer.forget(tenant_id)

    async def _leftover(self, tenant_id: str) -> int:
        """Generation of the account that a deletion cut short has left. Raises ResourceNotFound if there is none."""
        try:
            generation = await self._ledger.generation(tenant_id)
        except AccountMissing:
            raise ResourceNotFound("tenant", tenant_id) from None
        if await self._catalog.get(Kind.TENANT, tenant_id) is not None:
            raise Conflict(f"tenant {tenant_id!r} was made again meanwhile")
        return generation

    async def _check_childless(self, tenant_id: str) -> None:
        await self._directory.refresh()
        if children := self._directory.children_of(tenant_id):
            raise ResourceInUse(f"tenant {tenant_id!r} is the parent of {children[0]!r} and {len(children) - 1} others")

    # Shared

    async def _check_tenant(self, tenant: Tenant) -> None:
        check_tenant(tenant)
        await self._document(Kind.POOL, tenant.pool_id)
        await self._directory.pool(tenant.pool_id)
        check_fallback(tenant, self._directory.arms(tenant.pool_id))
        if tenant.parent_tenant_id:
            await self._document(Kind.TENANT, tenant.parent_tenant_id)

    def _check_encoder(self, pool: Pool) -> None:
        try:
            dimension = self._encoders(pool.encoder_id).encoder.dimension
        except (ValueError, EncoderError) as refusal:
            raise InvalidRequest.of("pool.encoder_id", str(refusal)) from None
        if pool.dimension > dimension:
            raise InvalidRequest.of("pool.dimension", f"must not exceed the encoder's {dimension}")

    async def _with_limit(self, stored: Stored[Tenant]) -> Stored[Tenant]:
        limit_nusd = await self._ledger.base_limit(stored.resource.tenant_id)
        return replace(stored, resource=replace(stored.resource, limit_nusd=limit_nusd))

    async def _document(self, kind: Kind, key: str) -> Document:
        document = await self._catalog.get(kind, key)
        if document is None:
            raise ResourceNotFound(kind.value, key.rpartition(" ")[2])
        return document

    async def _create(self, kind: Kind, key: str, resource: R, *, dry_run: bool) -> Stored[R]:
        try:
            return await self._put(kind, key, resource, expected_version=ABSENT, dry_run=dry_run)
        except VersionConflict:
            raise AlreadyExists(kind.value, key) from None

    async def _update(
        self, kind: Kind, key: str, resource: R, *, before: R | None = None, etag: str, dry_run: bool
    ) -> Stored[R]:
        version = _version(etag)
        try:
            return await self._put(kind, key, resource, before=before, expected_version=version, dry_run=dry_run)
        except VersionConflict:
            raise Conflict(f"{kind.value} {key!r} has changed since etag {etag!r} was read") from None

    async def _modify(
        self,
        kind: Kind,
        key: str,
        read: Callable[[Document], R],
        change: Callable[[R], R],
        *,
        etag: str,
        dry_run: bool,
    ) -> Stored[R]:
        """Replace what is stored by what `change` makes of it; without an etag, again if another was faster."""
        for _ in range(MAX_MODIFICATIONS):
            stored = _stored(await self._document(kind, key), read)
            try:
                updated = change(stored.resource)
                return await self._update(
                    kind, key, updated, before=stored.resource, etag=etag or stored.etag, dry_run=dry_run
                )
            except Conflict:
                if etag:
                    raise
        raise Conflict(f"{kind.value} {key!r} changed during {MAX_MODIFICATIONS} attempts")

    async def _put(
        self, kind: Kind, key: str, resource: R, *, before: R | None = None, expected_version: int, dry_run: bool
    ) -> Stored[R]:
        if dry_run:
            await self._check_version(kind, key, expected_version)
            return Stored(resource, "")
        if (needed := schema_needed(resource, before)) > FIRST_SCHEMA:
            await self._catalog.raise_schema(needed)
        document = await self._catalog.put(kind, key, encode_resource(resource), expected_version=expected_version)
        await self._directory.refresh()
        return Stored(with_generation(resource, document), str(document.version))

    async def _remove(self, kind: Kind, key: str, *, etag: str, dry_run: bool) -> None:
        await self._document(kind, key)
        try:
            if dry_run:
                await self._check_version(kind, key, _version(etag))
                return
            await self._catalog.delete(kind, key, expected_version=_version(etag))
        except VersionConflict:
            raise Conflict(f"{kind.value} {key!r} has changed since etag {etag!r} was read") from None
        await self._directory.refresh()

    async def _check_version(self, kind: Kind, key: str, expected_version: int) -> None:
        document = await self._catalog.get(kind, key)
        version = ABSENT if document is None else document.version
        if expected_version not in (ANY_VERSION, version):
            raise VersionConflict

    async def _list(
        self, kind: Kind, read: Callable[[Document], R], *, prefix: str, page_size: int, page_token: str
    ) -> Page[R]:
        size = min(page_size or DEFAULT_PAGE, MAX_PAGE)
        documents: Sequence[Document] = await self._catalog.list(kind, prefix=prefix, after=page_token, limit=size + 1)
        items = tuple(_stored(document, read) for document in documents[:size])
        return Page(items, documents[size - 1].key if len(documents) > size else "")


def _stored(document: Document, read: Callable[[Document], R]) -> Stored[R]:
    return Stored(read(document), str(document.version))


def _version(etag: str) -> int:
    if not etag:
        return ANY_VERSION
    if not etag.isdecimal():
        raise InvalidRequest.of("etag", f"{etag!r} is none that this service gave out")
    return int(etag)
