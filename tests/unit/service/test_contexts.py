from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from bandit_router.core.context import expected_prompt_tokens, most_prompt_tokens
from bandit_router.core.errors import InvalidRequest
from bandit_router.ports.encoder import Embeddings
from bandit_router.service import contexts
from bandit_router.service.contexts import ContextBuilder, EncoderHandle, TextBatcher
from bandit_router.service.messages import RouteRequest, Session
from tests.builders import make_pool
from tests.unit.service.worlds import DIMENSION, HashEncoder, Recorder, VectorsOnly, World, encoders, open_world

POOL = make_pool(features=("length", "is_code"))


async def builder_of(world: World, **handles: EncoderHandle) -> ContextBuilder:
    return ContextBuilder(
        world.services.directory, lambda encoder_id: handles.get(encoder_id) or encoders(encoder_id), world.observer
    )


async def make_builder(**handles: EncoderHandle) -> ContextBuilder:
    return await builder_of(await open_world(), **handles)


async def test_a_context_is_intercept_length_features_and_embedding() -> None:
    builder = await make_builder()
    request = RouteRequest("acme", query="hello", features={"is_code": 2.0})
    query, version = await builder.build(POOL, request)
    assert query.context[[0, 2, 3]].tolist() == [1.0, 0.0, 2.0]
    assert query.context[4:] == pytest.approx(HashEncoder().encode(["hello"])[0])
    assert version == 0


async def test_prompt_tokens_are_estimated_from_the_text_or_taken_as_given() -> None:
    builder = await make_builder()
    text = "grüße" * 20
    size = len(text.encode())
    guessed, _ = await builder.build(make_pool(), RouteRequest("acme", query=text))
    assert guessed.prompt_tokens == expected_prompt_tokens(size)
    assert guessed.most_prompt_tokens == most_prompt_tokens(size)
    told, _ = await builder.build(make_pool(), RouteRequest("acme", query=text, prompt_tokens=33))
    assert (told.prompt_tokens, told.most_prompt_tokens) == (33, 33)


async def test_the_requests_constraints_reach_the_query() -> None:
    request = RouteRequest(
        "acme",
        query="x",
        max_output_tokens=5,
        allowed_arm_ids=("a", "b"),
        max_cost_nusd=7,
        min_expected_reward=0.5,
        session=Session("s", "a", 3),
    )
    query, _ = await (await make_builder()).build(make_pool(), request)
    assert (query.max_output_tokens, query.max_cost_nusd, query.min_expected_reward) == (5, 7, 0.5)
    assert (query.allowed_arm_ids, query.last_arm_id, query.cached_tokens) == (frozenset("ab"), "a", 3)


@pytest.mark.parametrize(
    ("features", "field"),
    [
        ({"unknown": 1.0}, "features[unknown]"),
        ({"length": float("nan")}, "features[length]"),
        ({"length": float("inf")}, "features[length]"),
        ({"length": 1001.0}, "features[length]"),
    ],
)
async def test_features_must_be_declared_and_within_bounds(features: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await (await make_builder()).build(POOL, RouteRequest("acme", query="x", features=features))
    assert refusal.value.violations[0].field == field


@pytest.mark.parametrize(
    ("embedding", "encoder_id", "field"),
    [
        ((0.0,) * 3, "", "embedding.values"),
        ((0.0, 0.0, 0.0, float("nan")), "", "embedding.values"),
        ((0.0, 0.0, 0.0, 1e9), "", "embedding.values"),
        ((0.0,) * 4, "static", "embedding.encoder_id"),
    ],
)
async def test_an_embedding_must_be_one_of_the_pools_encoder(
    embedding: tuple[float, ...], encoder_id: str, field: str
) -> None:
    request = RouteRequest("acme", embedding=embedding, embedding_encoder_id=encoder_id)
    with pytest.raises(InvalidRequest) as refusal:
        await (await make_builder()).build(make_pool(), request)
    assert refusal.value.violations[0].field == field


async def test_a_pool_of_vectors_takes_no_text() -> None:
    builder = await make_builder()
    pool = make_pool(encoder_id="vectors")
    with pytest.raises(InvalidRequest, match="send an embedding"):
        await builder.build(pool, RouteRequest("acme", query="x"))
    request = RouteRequest("acme", embedding=(1.0, 0.0, 0.0, 0.0), embedding_encoder_id=VectorsOnly.encoder_id)
    query, _ = await builder.build(pool, request)
    assert query.context[2:].tolist() == [1.0, 0.0, 0.0, 0.0]


async def test_contexts_are_float32_from_birth() -> None:
    query, _ = await (await make_builder()).build(make_pool(), RouteRequest("acme", query="x"))
    assert (query.context.astype(np.float32) == query.context).all()


class SlowEncoder(HashEncoder):
    """Waits for its gate; remembers its batches."""

    encoder_id = "slow"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[list[str]] = []
        self.fault: Exception | None = None

    def encode(self, texts: Sequence[str]) -> Embeddings:
        self.gate.wait(10)
        self.batches.append(list(texts))
        if self.fault:
            raise self.fault
        return super().encode(texts)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_texts_that_wait_are_encoded_together_and_each_gets_its_own() -> None:
    encoder = SlowEncoder()
    batcher = TextBatcher(encoder, timeout_s=10)
    first = asyncio.create_task(batcher.encode("first"))
    await turn()
    others = [asyncio.create_task(batcher.encode(f"text {index}")) for index in range(100)]
    await turn()
    encoder.gate.set()
    rows = [row.tolist() for row in await asyncio.gather(first, *others)]
    assert rows == HashEncoder().encode(["first", *(f"text {index}" for index in range(100))]).tolist()
    assert [len(batch) for batch in encoder.batches] == [1, contexts.MAX_BATCH_TEXTS, 100 - contexts.MAX_BATCH_TEXTS]
    await batcher.close()


async def test_a_request_does_not_wait_longer_than_the_encoders_deadline() -> None:
    encoder = SlowEncoder()
    batcher = TextBatcher(encoder, timeout_s=0.01)
    with pytest.raises(TimeoutError):
        await batcher.encode("late")
    encoder.gate.set()
    await batcher.close()


async def test_texts_whose_request_has_gone_are_not_encoded() -> None:
    encoder = SlowEncoder()
    batcher = TextBatcher(encoder, timeout_s=10)
    first = asyncio.create_task(batcher.encode("first"))
    await turn()
    gone = asyncio.create_task(batcher.encode("gone"))
    await turn()
    gone.cancel()
    await turn()
    encoder.gate.set()
    await first
    await batcher.close()
    assert encoder.batches == [["first"]]


async def test_the_queue_of_texts_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MAX_WAITING_TEXTS", 2)
    encoder = SlowEncoder()
    batcher = TextBatcher(encoder, timeout_s=10)
    waiting = [asyncio.create_task(batcher.encode("a"))]
    await turn()
    waiting += [asyncio.create_task(batcher.encode(text)) for text in "bc"]
    await turn()
    with pytest.raises(TimeoutError, match="full"):
        await batcher.encode("d")
    encoder.gate.set()
    assert len(await asyncio.gather(*waiting)) == 3
    await batcher.close()


async def test_a_fault_of_the_encoder_reaches_all_who_wait_and_the_next_batch_works() -> None:
    encoder = SlowEncoder()
    encoder.gate.set()
    encoder.fault = RuntimeError("out of memory")
    batcher = TextBatcher(encoder, timeout_s=10)
    results = await asyncio.gather(batcher.encode("a"), batcher.encode("b"), return_exceptions=True)
    assert [str(result) for result in results] == ["out of memory"] * 2
    encoder.fault = None
    assert (await batcher.encode("c")).shape == (DIMENSION,)
    await batcher.close()


async def test_a_decision_whose_text_took_too_long_is_made_on_the_average_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TextBatcher.__init__, "__kwdefaults__", {"timeout_s": 0.01})
    encoder = SlowEncoder()
    world = await open_world()
    builder = await builder_of(world, slow=EncoderHandle(encoder, slow=True, ordered=True))
    query, _ = await builder.build(make_pool(encoder_id="slow"), RouteRequest("acme", query="x"))
    assert query.context[2:].tolist() == [0.0] * 4
    assert query.context[0] == 1.0
    assert isinstance(world.observer, Recorder)
    assert world.observer.counts["encoder_timeouts"] == 1
    encoder.gate.set()
    await builder.close()


async def test_a_slow_encoder_in_time_gives_the_same_context_as_a_fast_one() -> None:
    encoder = SlowEncoder()
    encoder.gate.set()
    builder = await make_builder(slow=EncoderHandle(encoder, slow=True, ordered=True))
    slow, _ = await builder.build(make_pool(encoder_id="slow"), RouteRequest("acme", query="x"))
    fast, _ = await builder.build(make_pool(), RouteRequest("acme", query="x"))
    assert (slow.context == fast.context).all()
    await builder.close()


async def test_a_vector_without_a_token_count_is_held_for_as_a_long_prompt() -> None:
    builder = await make_builder()
    request = RouteRequest("acme", embedding=(0.5,) * DIMENSION, embedding_encoder_id="vectors")
    query, _ = await builder.build(make_pool(encoder_id="vectors"), request)
    assert (query.prompt_tokens, query.most_prompt_tokens) == (256, 8192)
