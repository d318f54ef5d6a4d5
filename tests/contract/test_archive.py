"""The archive: everything comes back, money and learning go on where they stood, and nothing is half there."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from bandit_router.adapters.memory import SeededEntropy
from bandit_router.adapters.redis import RedisStore
from bandit_router.core.errors import DataLoss, StateTooNewHere, StoreNotEmpty
from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.core.schema import FIRST_SCHEMA, SCHEMA_VERSION
from bandit_router.ports.archive import Record, Shape, Tally
from bandit_router.ports.catalog import ANY_VERSION, ImportUnfinished, Kind
from bandit_router.ports.events import KEEP_NOTHING
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.documents import encode_resource
from bandit_router.service.messages import FeedbackRequest, RouteReply, RouteRequest, Usage
from tests.builders import LARGE, SMALL, make_pool, make_tenant
from tests.unit.service.worlds import Recorder, encoders

DAY = WindowRule(kind=WindowKind.DAY, time_zone="Europe/Berlin", carry_over=True)
TENANTS = ("acme", "daily")
SILENT = make_pool("silent", default_reward=0.5, default_reward_deadline_s=60.0)


@pytest.fixture
def store(backend: Any) -> RedisStore:
    if not isinstance(backend.store, RedisStore):
        pytest.skip("the memory store does not outlive its process")
    return backend.store


async def services_on(store: RedisStore, clock: Any, seed: int) -> Services:
    services = assemble(
        store,
        clock=clock,
        entropy=SeededEntropy(seed),
        encoders=encoders,
        observer=Recorder(),
        archive=store.archive,
    )
    await services.start()
    return services


@pytest.fixture
async def services(backend: Any, store: RedisStore) -> Services:
    services = await services_on(store, backend.clock, 1)
    await services.admin.create_pool(make_pool(), dry_run=False)
    for arm in (SMALL, LARGE):
        await services.admin.put_arm("pool", arm, etag="", dry_run=False)
    await services.admin.create_tenant(make_tenant("acme", limit_nusd=10**12), dry_run=False)
    await services.admin.create_tenant(make_tenant("daily", limit_nusd=10**12, window=DAY), dry_run=False)
    return services


async def drive(services: Services, first: int, count: int) -> list[RouteReply]:
    """Decisions of both tenants; every third is left open."""
    replies = []
    for number in range(first, first + count):
        tenant_id = TENANTS[number % 2]
        reply = await services.route.route(RouteRequest(tenant_id, query=f"q{number}", request_id=f"r{number}"))
        replies.append(reply)
        if number % 3:
            await settle(services, reply, number)
    return replies


async def settle(services: Services, reply: RouteReply, number: int) -> None:
    usage = Usage(input_tokens=10, output_tokens=20 + number)
    decision = reply.decision
    request = FeedbackRequest(decision.tenant_id, decision.decision_id, usage=usage, reward=number % 5 / 4)
    await services.feedback.feedback(request)


async def exported(services: Services) -> bytes:
    needed = await services.archives.schema()
    return b"".join([line async for line in services.archives.export(needed)])


def schema_of(data: bytes) -> int:
    return int(json.loads(data.splitlines()[0])["schema_version"])


async def take_in(services: Services, data: bytes, **options: bool) -> Tally:
    return await services.archives.take_in(io.BytesIO(data), **{"replace": False, "dry_run": False, **options})


def in_order(record: Record) -> object:
    """A hash has its fields in an order that depends on how they came."""
    return sorted(record.value) if record.shape is Shape.HASH else record.value


async def lines_of(store: RedisStore) -> list[tuple[str, object, object]]:
    return sorted([(r.key, r.shape, in_order(r)) async for r in store.archive.dump()], key=repr)


async def empty(store: RedisStore) -> None:
    await store.archive.begin()
    await store.archive.end()


@pytest.fixture
async def full(services: Services) -> tuple[Services, list[RouteReply]]:
    replies = await drive(services, 0, 12)
    await services.learner.step("pool")
    await services.budgets.grant("acme", 1000, reason="more", actor="me", dry_run=False)
    replies += await drive(services, 12, 6)
    return services, replies


async def test_everything_comes_back_as_it_was(store: RedisStore, full: tuple[Services, list[RouteReply]]) -> None:
    services, _ = full
    before, data = await lines_of(store), await exported(services)
    await empty(store)
    assert await lines_of(store) == []
    tally = await take_in(services, data)
    assert await lines_of(store) == before
    assert tally == Tally(pools=1, arms=2, tenants=2, decisions=18, events=12)


async def test_money_open_decisions_audit_and_learning_go_on_where_they_stood(
    backend: Any, store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, replies = full
    budgets = {tenant_id: await services.budgets.get(tenant_id) for tenant_id in TENANTS}
    data = await exported(services)
    await empty(store)
    await take_in(services, data)
    again = await services_on(store, backend.clock, 2)
    for tenant_id, before in budgets.items():
        assert await again.budgets.get(tenant_id) == before
        account = before.account
        assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
    [entry] = await again.budgets.audit("acme", after_id="", page_size=10)
    assert (entry.edit.reason, entry.edit.actor) == ("more", "me")
    first = replies[0].decision
    repeated = await again.route.route(RouteRequest(first.tenant_id, query="q0", request_id="r0"))
    assert repeated.decision == first
    for number, reply in enumerate(replies):
        if number % 3 == 0:
            await settle(again, reply, number)
    for tenant_id in TENANTS:
        account = (await again.budgets.get(tenant_id)).account
        assert account.held_nusd == 0
        assert account.limit_nusd == account.free_nusd + account.spent_nusd
    assert await again.learner.step("pool") == 12 - 8 + 6
    assert (await again.models.served("pool")).model.version == 2


async def test_events_get_ids_behind_those_that_the_snapshot_contains(
    backend: Any, store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, _ = full
    await services.learner.step("pool")
    last = dict(await store.events.last("pool"))
    await store.events.trim("pool", last, KEEP_NOTHING)
    data = await exported(services)
    await empty(store)
    await take_in(services, data)
    assert dict(await store.events.last("pool")) == {}
    assert dict(await store.events.trimmed("pool")) == last
    again = await services_on(store, backend.clock, 2)
    await drive(again, 100, 4)
    assert len(await store.events.read("pool", last, 100)) == len(await store.events.read("pool", {}, 100)) > 0


async def test_a_store_that_is_not_empty_is_only_replaced_when_asked_for(
    store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, _ = full
    before, data = await lines_of(store), await exported(services)
    await drive(services, 50, 3)
    now = await lines_of(store)
    with pytest.raises(StoreNotEmpty):
        await take_in(services, data)
    assert await take_in(services, data, replace=True, dry_run=True) == Tally(1, 2, 2, 18, 12)
    assert await lines_of(store) == now
    await take_in(services, data, replace=True)
    assert await lines_of(store) == before


async def test_an_old_learners_token_is_dead_after_a_replacement(
    store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, _ = full
    token = await store.snapshots.acquire("pool", "old", 60_000) or 0
    await take_in(services, await exported(services), replace=True)
    assert (await store.snapshots.acquire("pool", "new", 60_000) or 0) > token


@pytest.mark.parametrize("damage", ["cut", "flip", "extra", "none", "not one"])
async def test_a_damaged_file_changes_nothing(
    store: RedisStore, full: tuple[Services, list[RouteReply]], damage: str
) -> None:
    services, _ = full
    data = await exported(services)
    middle = len(data) // 2
    damaged = {
        "cut": data[: data.rindex(b"\n", 0, -1) + 1],
        "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "extra": data + b"[]\n",
        "none": b"",
        "not one": b"hello\n",
    }[damage]
    now = await lines_of(store)
    with pytest.raises(DataLoss):
        await take_in(services, damaged, replace=True)
    assert await lines_of(store) == now


async def test_a_file_of_a_later_schema_is_refused(store: RedisStore, full: tuple[Services, list[RouteReply]]) -> None:
    services, _ = full
    data = await exported(services)
    known, newer = (f'"schema_version":{version}'.encode() for version in (FIRST_SCHEMA, SCHEMA_VERSION + 1))
    now = await lines_of(store)
    with pytest.raises(StateTooNewHere, match=f"schema_version {SCHEMA_VERSION + 1}"):
        await take_in(services, data.replace(known, newer, 1), replace=True)
    assert await lines_of(store) == now


async def test_a_file_needs_what_its_content_needs_and_brings_it_along(
    store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, _ = full
    ordinary = await exported(services)
    await services.admin.create_pool(SILENT, dry_run=False)
    second = await exported(services)
    assert (schema_of(ordinary), schema_of(second)) == (1, 2)
    for data, needed in ((ordinary, 1), (second, 2), (ordinary, 1)):
        await take_in(services, data, replace=True)
        assert await store.catalog.schema() == needed


async def test_a_file_that_says_less_than_its_content_needs_raises_the_store_all_the_same(
    store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, _ = full
    await store.catalog.put(Kind.POOL, "silent", encode_resource(SILENT), expected_version=ANY_VERSION)
    data = await exported(services)
    assert schema_of(data) == 1
    await take_in(services, data, replace=True)
    assert await store.catalog.schema() == schema_of(await exported(services)) == 2


async def test_no_server_starts_on_an_import_that_was_cut_short(
    backend: Any, store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    records = [record async for record in store.archive.dump()]
    await store.archive.begin()
    await store.archive.put(records[: len(records) // 2])
    with pytest.raises(ImportUnfinished):
        await services_on(store, backend.clock, 2)
    await store.archive.begin()
    await store.archive.put(records)
    await store.archive.end()
    await services_on(store, backend.clock, 3)


async def test_an_export_under_traffic_obeys_the_budget_law_and_loses_no_open_hold(
    backend: Any, store: RedisStore, full: tuple[Services, list[RouteReply]]
) -> None:
    services, _ = full
    traffic = asyncio.gather(*(drive(services, 1000 * n, 30) for n in range(1, 5)))
    files = [await exported(services) for _ in range(3)]
    await traffic
    for seed, data in enumerate(files, 10):
        await take_in(services, data, replace=True)
        again = await services_on(store, backend.clock, seed)
        now_ms = backend.clock.now_ms()
        for due in await store.ledger.due(now_ms + 10**9, 10_000):
            await again.feedback.feedback(FeedbackRequest(due.tenant_id, due.decision_id, usage=Usage(cost_nusd=1)))
        for tenant_id in TENANTS:
            account = (await again.budgets.get(tenant_id)).account
            assert account.held_nusd == 0
            assert account.limit_nusd == account.free_nusd + account.spent_nusd
        while await again.learner.step("pool"):
            pass
        entries = await store.events.read("pool", {}, 10**5)
        state = await store.snapshots.load("pool")
        assert state is not None
        assert len({(entry.decision, entry.after) for entry in entries}) == len(entries)
