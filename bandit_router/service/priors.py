"""Priors of pools: checked, stored beside the catalog's other documents, in force on every replica within a second.

A prior is one document of its pool. It takes effect with the next change that replicas read, it is replaced by putting
another, and what it said is gone when it is removed: nothing of it is in the pool's sums, because learners mix prior
and sums afresh with every snapshot. A prior that brings a projection gives the pool these coordinates, so the pool's
learning starts again, as after FitProjection; a projection fitted later puts an older prior out of force.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bandit_router.core.context import context_dimension
from bandit_router.core.errors import InvalidRequest, ResourceNotFound
from bandit_router.core.pool_prior import PoolPrior, priors_for
from bandit_router.core.prior import Priors
from bandit_router.core.prior_codec import CorruptPrior, decode_prior, encode_prior
from bandit_router.core.resources import Pool
from bandit_router.core.schema import prior_schema_needed
from bandit_router.ports.catalog import ANY_VERSION, Catalog, Kind
from bandit_router.service.contexts import EncoderSource
from bandit_router.service.directory import Directory
from bandit_router.service.documents import encode_projection


@dataclass(frozen=True, slots=True, eq=False)
class ImportedPrior:
    """A prior as a pool has it. `version` grows with every import, 0: a dry run; `arms`: priors of
    the pool's arms, in order of their ids, also of those that borrow theirs.

    `is_in_force`: false once the pool's projection has changed.
    """

    prior: PoolPrior
    version: int
    arms: Priors
    is_in_force: bool

    @property
    def own_arm_ids(self) -> tuple[str, ...]:
        """Arms of the pool that the prior itself speaks of."""
        return tuple(arm_id for arm_id in self.arms if arm_id in self.prior.arms)


class PriorService:
    """Imports, shows and removes the priors of pools."""

    def __init__(self, *, catalog: Catalog, directory: Directory, encoders: EncoderSource) -> None:
        self._catalog = catalog
        self._directory = directory
        self._encoders = encoders

    async def import_prior(self, pool_id: str, data: bytes, *, dry_run: bool) -> ImportedPrior:
        """Put the prior that `prior fit` wrote in force. Raises InvalidRequest (nothing changed), ResourceNotFound."""
        pool = await self._directory.pool(pool_id)
        await self._directory.refresh()
        try:
            prior = decode_prior(data)
        except CorruptPrior as refusal:
            raise InvalidRequest.of("chunk.data", str(refusal)) from None
        self._check(pool, prior)
        known = self._directory.projection(pool_id)
        version = 0 if known is None else known.version
        if prior.projection is not None:
            version += 1
        fitted = replace(prior, projection_version=version)
        if dry_run:
            return self._imported(pool_id, fitted, 0)
        await self._catalog.raise_schema(prior_schema_needed(fitted))
        if prior.projection is not None:
            body = encode_projection(replace(prior.projection, version=version))
            await self._catalog.put(Kind.PROJECTION, pool_id, body, expected_version=ANY_VERSION)
        document = await self._catalog.put(Kind.PRIOR, pool_id, encode_prior(fitted), expected_version=ANY_VERSION)
        await self._directory.refresh()
        return self._imported(pool_id, fitted, document.version)

    async def get_prior(self, pool_id: str) -> ImportedPrior:
        """The pool's prior. Raises ResourceNotFound (PRIOR_NOT_FOUND if the pool has none)."""
        await self._directory.pool(pool_id)
        await self._directory.refresh()
        document = await self._catalog.get(Kind.PRIOR, pool_id)
        if document is None:
            raise ResourceNotFound("prior", pool_id)
        return self._imported(pool_id, decode_prior(document.body), document.version)

    async def delete_prior(self, pool_id: str, *, dry_run: bool) -> None:
        """Let the pool's arms start from the learner's plain prior again. Raises ResourceNotFound."""
        await self.get_prior(pool_id)
        if not dry_run:
            await self._catalog.delete(Kind.PRIOR, pool_id, expected_version=ANY_VERSION)
            await self._directory.refresh()

    def _imported(self, pool_id: str, prior: PoolPrior, version: int) -> ImportedPrior:
        found = priors_for(prior, self._directory.arms(pool_id))
        known = self._directory.projection(pool_id)
        current = 0 if known is None else known.version
        return ImportedPrior(
            prior=prior,
            version=version,
            arms={arm_id: found[arm_id] for arm_id in sorted(found)},
            is_in_force=version == 0 or prior.projection_version == current,
        )

    def _check(self, pool: Pool, prior: PoolPrior) -> None:
        """Raise InvalidRequest unless the prior is about this pool's coordinates and at least one of its arms."""
        for field, of_prior, of_pool in (
            ("encoder_id", prior.encoder_id, pool.encoder_id),
            ("dimension", prior.dimension, pool.dimension),
            ("features", list(prior.features), list(pool.features)),
        ):
            if of_prior != of_pool:
                raise InvalidRequest.of(f"prior.{field}", f"is {of_prior!r}, the pool's is {of_pool!r}")
        length = context_dimension(pool.dimension, len(pool.features))
        if prior.context_length != length:
            raise InvalidRequest.of("prior.arms", f"speak of {prior.context_length} coordinates, the pool has {length}")
        self._check_projection(pool, prior)
        arm_ids = [arm.arm_id for arm in self._directory.arms(pool.pool_id)]
        if not set(arm_ids) & set(prior.arms):
            theirs, ours = ", ".join(sorted(prior.arms)), ", ".join(arm_ids) or "none"
            raise InvalidRequest.of("prior.arms", f"are none of the pool's (prior: {theirs}; pool: {ours})")

    def _check_projection(self, pool: Pool, prior: PoolPrior) -> None:
        if prior.projection is not None:
            takes, makes = prior.projection.dim_in, self._encoders(pool.encoder_id).encoder.dimension
            if takes != makes:
                raise InvalidRequest.of("prior.projection", f"takes {takes} numbers, the pool's encoder makes {makes}")
        elif self._directory.projection(pool.pool_id) is not None:
            raise InvalidRequest.of(
                "prior.projection", "is the encoder's default, but the pool has a fitted one; fit the prior by pilot"
            )
