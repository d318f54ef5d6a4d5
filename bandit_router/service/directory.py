"""The replica's view of the catalog: pools, arms and tenants in memory, kept fresh from the change feed.

`refresh` is called in a loop, and before a resource is called missing, so a tenant can be used the moment its creation
has returned, on any replica, with all the arms that its pool had by then.

Reading changes takes time, and several refreshes may be under way. What one brings is taken over at once and whole, so
no decision sees half of it; one that another has overtaken is left out, so the view never goes back. It goes back with
the catalog alone: where that has lost changes (a store that came back without its last second), it is read anew.

The change feed also tells whether newer code has stored what this code would misread; see `schema`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from bandit_router.core.errors import ResourceNotFound
from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior_codec import decode_prior
from bandit_router.core.projection import Projection
from bandit_router.core.resources import Arm, Pool, Tenant
from bandit_router.core.schema import FIRST_SCHEMA, prior_schema_needed, schema_needed
from bandit_router.ports.catalog import Catalog, Changes, Document, Kind
from bandit_router.service.documents import decode_projection, read_arm, read_pool, read_tenant, split_arm_key
from bandit_router.service.schema_watch import SchemaWatch

_PAGE = 500


class Directory:
    """Pools, arms and tenants by id, from memory."""

    def __init__(self, catalog: Catalog, schema: SchemaWatch) -> None:
        self._catalog = catalog
        self._schema = schema
        self._version = 0
        self._stamp = ""
        self._pools: dict[str, Pool] = {}
        self._tenants: dict[str, Tenant] = {}
        self._arms: dict[str, dict[str, Arm]] = defaultdict(dict)
        self._projections: dict[str, Projection] = {}
        self._priors: dict[str, PoolPrior] = {}
        self._revisions: dict[str, int] = defaultdict(int)

    async def load(self) -> None:
        """Read the whole catalog, then what was changed meanwhile. May be called again after StoreUnavailable."""
        if self._version == 0:
            await self._read_all()
        await self.refresh()

    async def refresh(self) -> bool:
        """Take over what has changed since the last call; True if anything had."""
        since = self._version
        changes = await self._changes(since, self._stamp)
        if not changes.continues:
            await self._read_all()
            return True
        found = [(kind, key, await self._catalog.get(kind, key)) for kind, key in changes.keys]
        if since < self._version >= changes.version:
            return False
        for kind, key, document in found:
            if document is None:
                self._drop(kind, key)
            else:
                self._take([document])
        self._version, self._stamp = changes.version, changes.stamp
        return bool(changes.keys)

    async def pool(self, pool_id: str) -> Pool:
        """The pool. Raises ResourceNotFound."""
        if pool_id not in self._pools:
            await self.refresh()
        pool = self._pools.get(pool_id)
        if pool is None:
            raise ResourceNotFound("pool", pool_id)
        return pool

    async def tenant(self, tenant_id: str) -> Tenant:
        """The tenant. Raises ResourceNotFound."""
        if tenant_id not in self._tenants:
            await self.refresh()
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise ResourceNotFound("tenant", tenant_id)
        return tenant

    def arms(self, pool_id: str) -> tuple[Arm, ...]:
        """The pool's arms in order of their ids."""
        arms = self._arms.get(pool_id, {})
        return tuple(arms[arm_id] for arm_id in sorted(arms))

    def projection(self, pool_id: str) -> Projection | None:
        """The projection fitted for the pool, if one was."""
        return self._projections.get(pool_id)

    def prior(self, pool_id: str) -> PoolPrior | None:
        """The prior imported into the pool, if there is one and it is about the pool's present coordinates."""
        prior, projection = self._priors.get(pool_id), self._projections.get(pool_id)
        version = 0 if projection is None else projection.version
        return prior if prior is not None and prior.projection_version == version else None

    def revision(self, pool_id: str) -> int:
        """Grows whenever the pool, one of its arms or its prior changes."""
        return self._revisions.get(pool_id, 0)

    def pool_ids(self) -> tuple[str, ...]:
        """All pools known."""
        return tuple(sorted(self._pools))

    def tenants_of(self, pool_id: str) -> tuple[str, ...]:
        """Ids of the tenants known that point at the pool."""
        return tuple(sorted(t.tenant_id for t in self._tenants.values() if t.pool_id == pool_id))

    def children_of(self, tenant_id: str) -> tuple[str, ...]:
        """Ids of the tenants known whose parent this one is."""
        return tuple(sorted(t.tenant_id for t in self._tenants.values() if t.parent_tenant_id == tenant_id))

    def schema_needed(self) -> int:
        """The least schema version that all that is known needs."""
        arms = [arm for known in self._arms.values() for arm in known.values()]
        resources: list[Pool | Tenant | Arm] = [*self._pools.values(), *self._tenants.values(), *arms]
        return max([FIRST_SCHEMA, *map(schema_needed, resources), *map(prior_schema_needed, self._priors.values())])

    async def _changes(self, since: int, stamp: str | None = None) -> Changes:
        changes = await self._catalog.changes(since, stamp)
        self._schema.told(changes.schema)
        return changes

    async def _read_all(self) -> None:
        """Take over the catalog as it is now, and nothing of what was known before."""
        changes = await self._changes(0)
        documents = [document for kind in Kind for document in await self._list(kind)]
        for known in (self._pools, self._tenants, self._arms, self._projections, self._priors):
            known.clear()
        self._take(documents)
        self._version, self._stamp = changes.version, changes.stamp

    async def _list(self, kind: Kind) -> list[Document]:
        documents: list[Document] = []
        after = ""
        while page := await self._catalog.list(kind, prefix="", after=after, limit=_PAGE):
            documents += page
            after = page[-1].key
        return documents

    def _take(self, documents: Iterable[Document]) -> None:
        for document in documents:
            if document.kind is Kind.TENANT:
                self._tenants[document.key] = read_tenant(document)
                continue
            pool_id, arm_id = split_arm_key(document.key)
            if document.kind is Kind.POOL:
                self._pools[pool_id] = read_pool(document)
            elif document.kind is Kind.PROJECTION:
                self._projections[pool_id] = decode_projection(document.body)
            elif document.kind is Kind.PRIOR:
                self._priors[pool_id] = decode_prior(document.body)
            else:
                self._arms[pool_id][arm_id] = read_arm(document)
            self._revisions[pool_id] += 1

    def _drop(self, kind: Kind, key: str) -> None:
        if kind is Kind.TENANT:
            self._tenants.pop(key, None)
            return
        pool_id, arm_id = split_arm_key(key)
        if kind is Kind.POOL:
            self._pools.pop(pool_id, None)
        elif kind is Kind.PROJECTION:
            self._projections.pop(pool_id, None)
        elif kind is Kind.PRIOR:
            self._priors.pop(pool_id, None)
        else:
            self._arms[pool_id].pop(arm_id, None)
        self._revisions[pool_id] += 1
