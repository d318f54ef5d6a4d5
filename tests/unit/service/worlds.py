"""A replica in memory for the tests of the services: virtual clock, seeded entropy, an encoder of hashes."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from bandit_router.adapters.memory import ManualClock, MemoryStore, SeededEntropy
from bandit_router.core.codec import decode_outcome
from bandit_router.core.outcomes import Outcome
from bandit_router.core.resources import Arm, Pool, Tenant
from bandit_router.ports.encoder import Embeddings, TextNotSupported
from bandit_router.ports.ledger import BudgetState
from bandit_router.service.assembly import Services, Store, assemble
from bandit_router.service.contexts import EncoderHandle
from bandit_router.service.messages import FeedbackReply, FeedbackRequest, RouteReply, RouteRequest, Usage
from tests.builders import LARGE, MEDIUM, SMALL, make_pool, make_tenant

DIMENSION = 4


class HashEncoder:
    """Unit vectors that are a pure function of the text."""

    encoder_id = "hash"
    dimension = DIMENSION

    def encode(self, texts: Sequence[str]) -> Embeddings:
        rows = np.array([np.frombuffer(blake2b(t.encode(), digest_size=4 * DIMENSION).digest(), "<u4") for t in texts])
        centred = rows.astype(np.float64).reshape(-1, DIMENSION) / 2**31 - 1
        return (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)


class VectorsOnly(HashEncoder):
    """Takes vectors from the caller."""

    encoder_id = "vectors"

    def encode(self, texts: Sequence[str]) -> Embeddings:
        raise TextNotSupported("send an embedding")


def encoders(encoder_id: str) -> EncoderHandle:
    known = {"hash": HashEncoder(), "vectors": VectorsOnly()}
    if encoder_id not in known:
        raise ValueError(f"no encoder {encoder_id!r}")
    return EncoderHandle(known[encoder_id], ordered=True)


@dataclass
class Recorder:
    """An observer that remembers."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counts[name] += int(amount)

    def time(self, name: str, seconds: float, **labels: str) -> None:
        pass

    def level(self, name: str, value: float, **labels: str) -> None:
        self.levels[name] = value

    def note(self, event: str, **facts: object) -> None:
        self.notes.append((event, facts))

    def events(self) -> list[str]:
        return [event for event, _ in self.notes]


@dataclass
class Parts:
    """A store put together from the parts of others."""

    ledger: Any
    events: Any
    snapshots: Any
    catalog: Any


class Wrapped:
    """Everything as the wrapped object has it, but for what a subclass overrides."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Yielding(Wrapped):
    """Lets other tasks run before and after every call, as a store over a network does."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
            found = await method(*args, **options)
            for _ in range(3):
                await asyncio.sleep(0)
            return found

        return call


def with_parts(store: Store, **parts: Any) -> Parts:
    """The store with some of its parts replaced."""
    return Parts(**{name: getattr(store, name) for name in ("ledger", "events", "snapshots", "catalog")} | parts)


def yielding(store: Store) -> Parts:
    return Parts(*(Yielding(part) for part in (store.ledger, store.events, store.snapshots, store.catalog)))


@dataclass
class World:
    """A replica over a memory store, and short words for what tests do with it."""

    clock: ManualClock
    store: MemoryStore
    services: Services
    observer: Recorder

    async def replica(self, seed: int, store: Store | None = None, **options: Any) -> World:
        """Another replica over the same store."""
        return await open_replica(self.clock, self.store, seed, store, **options)

    async def route(self, query: str = "hello", tenant_id: str = "acme", **options: Any) -> RouteReply:
        return await self.services.route.route(RouteRequest(tenant_id, query=query, **options))

    async def feedback(self, decision_id: str, tenant_id: str = "acme", **options: Any) -> FeedbackReply:
        return await self.services.feedback.feedback(FeedbackRequest(tenant_id, decision_id, **options))

    async def settle(
        self, reply: RouteReply, *, output_tokens: int = 100, reward: float | None = None
    ) -> FeedbackReply:
        """Report the usual usage and a reward."""
        usage = Usage(input_tokens=reply.decision.prompt_tokens, output_tokens=output_tokens)
        decision = reply.decision
        return await self.feedback(decision.decision_id, decision.tenant_id, usage=usage, reward=reward)

    async def budget(self, tenant_id: str = "acme") -> BudgetState:
        return await self.services.budgets.get(tenant_id)

    async def outcome(self, decision_id: str, tenant_id: str = "acme") -> Outcome:
        record = await self.store.ledger.read(tenant_id, decision_id)
        assert record is not None
        return decode_outcome(record.outcome)

    def contents(self) -> object:
        """Everything in the store, comparable."""
        parts = (self.store.ledger, self.store.events, self.store.snapshots, self.store.catalog)
        return [frozen({k: v for k, v in vars(part).items() if k != "_clock"}) for part in parts]


async def open_replica(
    clock: ManualClock, memory: MemoryStore, seed: int, store: Store | None = None, **options: Any
) -> World:
    observer = Recorder()
    entropy = SeededEntropy(seed)
    services = assemble(store or memory, clock=clock, entropy=entropy, encoders=encoders, observer=observer, **options)
    await services.start()
    return World(clock, memory, services, observer)


async def open_world(
    *,
    arms: Sequence[Arm] = (SMALL, MEDIUM, LARGE),
    pool: Pool | None = None,
    tenants: Sequence[Tenant] = (),
    seed: int = 1,
    wrap: Any = None,
) -> World:
    """A replica with a pool of arms and its tenants ('acme' unless others are given)."""
    clock = ManualClock()
    memory = MemoryStore(clock)
    world = await open_replica(clock, memory, seed, wrap(memory) if wrap else None)
    admin = world.services.admin
    pool = pool or make_pool()
    await admin.create_pool(pool, dry_run=False)
    for arm in arms:
        await admin.put_arm(pool.pool_id, arm, etag="", dry_run=False)
    for tenant in tenants or [make_tenant()]:
        await admin.create_tenant(tenant, dry_run=False)
    return world


def frozen(value: object) -> object:
    """A comparable image of nested plain objects."""
    if isinstance(value, Mapping):
        return {frozen_key(k): frozen(v) for k, v in value.items()}
    if isinstance(value, list | tuple | deque):
        return [frozen(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(frozen(getattr(value, f.name)) for f in fields(value))]
    return value if isinstance(value, str | bytes | int | float | bool | None) else repr(value)


def frozen_key(value: object) -> str:
    return repr(value)
