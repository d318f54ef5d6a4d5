"""From a request to its context: encode (cached, batched where encoding is slow), project, add structure.

A slow encoder never holds a decision up: it works in a thread on everything that has come in meanwhile, behind a queue
of bounded length, and a request that would wait longer than the encoder's deadline is decided on the average context
(an embedding of zeros) instead. Such requests are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bandit_router.core.choice import Query
from bandit_router.core.context import (
    MOST_UNSEEN_PROMPT_TOKENS,
    UNSEEN_PROMPT_TOKENS,
    build_context,
    expected_prompt_tokens,
    most_prompt_tokens,
)
from bandit_router.core.errors import InvalidRequest
from bandit_router.core.projection import (
    Float32Array,
    InvalidEmbedding,
    Projection,
    checked_embeddings,
    cosine_projection,
    identity_projection,
)
from bandit_router.core.resources import Pool
from bandit_router.ports.encoder import Encoder, TextNotSupported
from bandit_router.ports.observer import Observer
from bandit_router.service.directory import Directory
from bandit_router.service.messages import RouteRequest

MAX_WAITING_TEXTS = 1024
MAX_BATCH_TEXTS = 64
ENCODE_TIMEOUT_S = 0.5
MAX_FEATURE = 1e3


@dataclass(frozen=True, slots=True)
class EncoderHandle:
    """An encoder and how to call it: `slow` ones in a thread and in batches. `ordered`: coordinates by variance."""

    encoder: Encoder
    slow: bool = False
    ordered: bool = False


EncoderSource = Callable[[str], EncoderHandle]


class ContextBuilder:
    """Builds the query (context and token counts) of a request, as its pool wants it."""

    def __init__(self, directory: Directory, encoders: EncoderSource, observer: Observer) -> None:
        self._directory = directory
        self._encoders = encoders
        self._observer = observer
        self._handles: dict[str, EncoderHandle] = {}
        self._defaults: dict[tuple[str, int], Projection] = {}
        self._batchers: dict[str, TextBatcher] = {}

    async def build(self, pool: Pool, request: RouteRequest) -> tuple[Query, int]:
        """The query and the version of the projection it was made with. Raises InvalidRequest."""
        handle = self._handle(pool.encoder_id)
        projection = self._projection(pool, handle)
        embedding = await self._embedding(handle, request)
        projected = projection.of_checked(embedding[None, :])[0]
        expected, most = _prompt_tokens(request)
        context = build_context(
            projected, prompt_tokens=expected, names=pool.features, features=_checked_features(pool, request)
        )
        query = Query(
            context=context.astype(np.float64),
            prompt_tokens=expected,
            most_prompt_tokens=most,
            max_output_tokens=request.max_output_tokens,
            allowed_arm_ids=frozenset(request.allowed_arm_ids),
            max_cost_nusd=request.max_cost_nusd,
            min_expected_reward=request.min_expected_reward,
            last_arm_id=request.session.last_arm_id,
            cached_tokens=request.session.cached_tokens,
        )
        return query, projection.version

    async def close(self) -> None:
        """Stop the batching tasks."""
        for batcher in self._batchers.values():
            await batcher.close()

    def _handle(self, encoder_id: str) -> EncoderHandle:
        if encoder_id not in self._handles:
            self._handles[encoder_id] = self._encoders(encoder_id)
        return self._handles[encoder_id]

    def _projection(self, pool: Pool, handle: EncoderHandle) -> Projection:
        fitted = self._directory.projection(pool.pool_id)
        if fitted is not None:
            return fitted
        key = pool.encoder_id, pool.dimension
        if key not in self._defaults:
            self._defaults[key] = default_projection(handle, pool.dimension)
        return self._defaults[key]

    async def _embedding(self, handle: EncoderHandle, request: RouteRequest) -> Float32Array:
        encoder = handle.encoder
        if request.embedding is not None:
            return _caller_embedding(encoder, request)
        text = request.query or ""
        try:
            if not handle.slow:
                row = encoder.encode([text])[0]
            else:
                row = await self._batcher(encoder).encode(text)
        except TextNotSupported as refusal:
            raise InvalidRequest.of("query", str(refusal)) from None
        except TimeoutError:
            self._observer.count("encoder_timeouts", encoder=encoder.encoder_id)
            return np.zeros(encoder.dimension, dtype=np.float32)
        checked: Float32Array = checked_embeddings(row[None, :], dimension=encoder.dimension)[0]
        return checked

    def _batcher(self, encoder: Encoder) -> TextBatcher:
        if encoder.encoder_id not in self._batchers:
            self._batchers[encoder.encoder_id] = TextBatcher(encoder)
        return self._batchers[encoder.encoder_id]


class TextBatcher:
    """Runs a slow encoder in a thread on all texts that wait, at most MAX_BATCH_TEXTS at a time."""

    def __init__(self, encoder: Encoder, *, timeout_s: float = ENCODE_TIMEOUT_S) -> None:
        self._encoder = encoder
        self._timeout_s = timeout_s
        self._waiting: list[tuple[str, asyncio.Future[Float32Array]]] = []
        self._task: asyncio.Task[None] | None = None

    async def encode(self, text: str) -> Float32Array:
        """The text's embedding. Raises TimeoutError at the deadline, or at once when the queue is full."""
        if len(self._waiting) >= MAX_WAITING_TEXTS:
            raise TimeoutError("encoder queue is full")
        future: asyncio.Future[Float32Array] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await asyncio.wait_for(future, self._timeout_s)

    async def close(self) -> None:
        """Wait for the batch under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _drain(self) -> None:
        while self._waiting:
            batch = [item for item in self._waiting[:MAX_BATCH_TEXTS] if not item[1].done()]
            del self._waiting[:MAX_BATCH_TEXTS]
            if batch:
                await self._encode_batch(batch)

    async def _encode_batch(self, batch: list[tuple[str, asyncio.Future[Float32Array]]]) -> None:
        try:
            rows = await asyncio.to_thread(self._encoder.encode, [text for text, _ in batch])
        except Exception as fault:  # noqa: BLE001 - handed to every caller that waits for this batch
            for _, future in batch:
                if not future.done():
                    future.set_exception(fault)
            return
        for (_, future), row in zip(batch, rows, strict=True):
            if not future.done():
                future.set_result(row)


def default_projection(handle: EncoderHandle, dimension: int) -> Projection:
    """The projection of a pool that none was fitted for."""
    make = identity_projection if handle.ordered else cosine_projection
    return make(handle.encoder.dimension, dimension)


def _prompt_tokens(request: RouteRequest) -> tuple[int, int]:
    """The expected count, and the bound that holds are made for."""
    if request.prompt_tokens is not None:
        return request.prompt_tokens, request.prompt_tokens
    if request.query is None:
        return UNSEEN_PROMPT_TOKENS, MOST_UNSEEN_PROMPT_TOKENS
    text_bytes = len(request.query.encode())
    return expected_prompt_tokens(text_bytes), most_prompt_tokens(text_bytes)


def _caller_embedding(encoder: Encoder, request: RouteRequest) -> Float32Array:
    assert request.embedding is not None
    encoder_id = request.embedding_encoder_id
    if encoder_id and encoder_id != encoder.encoder_id:
        raise InvalidRequest.of(
            "embedding.encoder_id", f"must be the pool's encoder {encoder.encoder_id!r}, got {encoder_id!r}"
        )
    try:
        row: Float32Array = checked_embeddings([request.embedding], dimension=encoder.dimension)[0]
    except InvalidEmbedding as refusal:
        raise InvalidRequest.of("embedding.values", str(refusal)) from None
    return row


def _checked_features(pool: Pool, request: RouteRequest) -> dict[str, float]:
    for name, value in request.features.items():
        if name not in pool.features:
            declared = ", ".join(pool.features) or "none"
            raise InvalidRequest.of(f"features[{name}]", f"is not declared by the pool (declared: {declared})")
        if not -MAX_FEATURE <= value <= MAX_FEATURE:
            raise InvalidRequest.of(f"features[{name}]", f"must be finite and within ±{MAX_FEATURE:g}, got {value}")
    return dict(request.features)
