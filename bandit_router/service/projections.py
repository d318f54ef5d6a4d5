"""Fitting a pool's projection on a sample of its queries.

A fitted projection starts the pool's learning again: what was learned in the old coordinates means nothing in the new
ones (the learner sees the version and begins with an empty state). So it is fitted before traffic, or on purpose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bandit_router.core.errors import InvalidRequest
from bandit_router.core.projection import Float32Array, InvalidEmbedding, checked_embeddings, fit_projection
from bandit_router.core.resources import Pool
from bandit_router.ports.catalog import ANY_VERSION, Catalog, Kind
from bandit_router.ports.encoder import EncoderError
from bandit_router.service.contexts import EncoderSource
from bandit_router.service.directory import Directory
from bandit_router.service.documents import encode_projection

MAX_SAMPLES = 100_000


@dataclass(frozen=True, slots=True)
class FittedProjection:
    """What a fit produced: its version and how many samples it saw."""

    version: int
    samples: int


class ProjectionService:
    """Fits and stores projections."""

    def __init__(self, *, catalog: Catalog, directory: Directory, encoders: EncoderSource) -> None:
        self._catalog = catalog
        self._directory = directory
        self._encoders = encoders

    async def fit_on_texts(self, pool_id: str, texts: Sequence[str]) -> FittedProjection:
        """Encode the texts and fit on them. Raises InvalidRequest, ResourceNotFound."""
        pool = await self._directory.pool(pool_id)
        _check_count("texts", len(texts), pool)
        encoder = self._encoders(pool.encoder_id).encoder
        try:
            rows = await asyncio.to_thread(encoder.encode, texts)
        except EncoderError as refusal:
            raise InvalidRequest.of("texts", str(refusal)) from None
        return await self._store(pool, rows, field="texts")

    async def fit_on_embeddings(self, pool_id: str, embeddings: Sequence[Sequence[float]]) -> FittedProjection:
        """Fit on vectors of the pool's encoder. Raises InvalidRequest, ResourceNotFound."""
        pool = await self._directory.pool(pool_id)
        _check_count("embeddings", len(embeddings), pool)
        dimension = self._encoders(pool.encoder_id).encoder.dimension
        try:
            rows = checked_embeddings(embeddings, dimension=dimension)
        except InvalidEmbedding as refusal:
            raise InvalidRequest.of("embeddings", str(refusal)) from None
        return await self._store(pool, rows, field="embeddings")

    async def _store(self, pool: Pool, rows: Float32Array, *, field: str) -> FittedProjection:
        known = self._directory.projection(pool.pool_id)
        version = 1 if known is None else known.version + 1
        try:
            projection = await asyncio.to_thread(fit_projection, rows, pool.dimension, version=version)
        except ValueError as refusal:
            raise InvalidRequest.of(field, str(refusal)) from None
        body = encode_projection(projection)
        await self._catalog.put(Kind.PROJECTION, pool.pool_id, body, expected_version=ANY_VERSION)
        await self._directory.refresh()
        return FittedProjection(version=version, samples=len(rows))


def _check_count(field: str, count: int, pool: Pool) -> None:
    if not pool.dimension < count <= MAX_SAMPLES:
        raise InvalidRequest.of(field, f"needs more than {pool.dimension} and at most {MAX_SAMPLES}, got {count}")
