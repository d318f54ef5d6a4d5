"""A store that the first schema's code has written, opened by today's: money, decisions and learning go on."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from bandit_router.adapters.memory import ManualClock, SeededEntropy
from bandit_router.adapters.redis import RedisStore, connect
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.messages import FeedbackRequest, RouteRequest, Usage
from tests.conftest import STORE_TIMEOUT_S, flush
from tests.unit.service.worlds import Recorder, encoders

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store_schema_1.json"
WRITTEN_MS = 1_900_000_000_000
TENANTS = ("acme", "daily")


@asynccontextmanager
async def store_filled_from(file: Path, url: str) -> AsyncIterator[RedisStore]:
    flush(url)
    with redis.Redis.from_url(url) as client:
        load_fixture(client, file)
    store = connect(url, STORE_TIMEOUT_S)
    yield store
    await store.close()


def load_fixture(client: redis.Redis, file: Path) -> None:
    for key, kind, value in json.loads(file.read_text(encoding="utf-8")):
        put(client, base64.b64decode(key), kind, value)


def put(client: redis.Redis, key: bytes, kind: str, value: Any) -> None:
    raw = base64.b64decode
    match kind:
        case "string":
            client.set(key, raw(value))
        case "hash":
            client.hset(key, mapping={raw(name): raw(data) for name, data in value})
        case "zset":
            client.zadd(key, {raw(member): score for member, score in value})
        case "list":
            client.rpush(key, *[raw(item) for item in value])
        case "stream":
            for entry_id, flat in value:
                client.xadd(key, dict(zip(map(raw, flat[::2]), map(raw, flat[1::2]), strict=True)), id=entry_id)


@pytest.fixture
async def store(valkey_url: str) -> Any:
    async with store_filled_from(FIXTURE, valkey_url) as store:
        yield store


async def open_services(store: RedisStore) -> Services:
    services = assemble(
        store, clock=ManualClock(WRITTEN_MS), entropy=SeededEntropy(2), encoders=encoders, observer=Recorder()
    )
    await services.start()
    return services


async def test_budgets_stand_where_they_stood_and_obey_the_law(store: RedisStore) -> None:
    services = await open_services(store)
    for tenant_id in TENANTS:
        account = (await services.budgets.get(tenant_id)).account
        assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
        assert account.spent_nusd > 0
        assert account.held_nusd > 0
    [entry] = await services.budgets.audit("acme", after_id="", page_size=10)
    assert (entry.edit.reason, entry.edit.amount_nusd) == ("more", 1000)


async def test_open_decisions_take_their_bills_and_settled_ones_corrections(store: RedisStore) -> None:
    services = await open_services(store)
    for number, tenant_id in ((4, "daily"), (5, "acme")):
        route = await services.route.route(RouteRequest(tenant_id, query=f"q{number}", request_id=f"r{number}"))
        decision_id = route.decision.decision_id
        await services.feedback.feedback(
            FeedbackRequest(tenant_id, decision_id, usage=Usage(input_tokens=1, output_tokens=5))
        )
        assert (await services.budgets.get(tenant_id)).account.held_nusd == 0
    route = await services.route.route(RouteRequest("acme", query="q1", request_id="r1"))
    await services.feedback.feedback(FeedbackRequest("acme", route.decision.decision_id, reward=0.0, correct=True))


async def test_learning_goes_on_behind_the_stored_snapshot(store: RedisStore) -> None:
    services = await open_services(store)
    assert (await services.models.served("pool")).model.version == 1
    assert await services.learner.step("pool") == 2
    assert (await services.models.served("pool")).model.version == 2
    assert (await store.snapshots.letters("pool", after_id="", limit=10)) == []
