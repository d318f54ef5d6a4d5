"""Catalog: versions as etags, conflicts, listing, the change feed, the schema mark."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from bandit_router.adapters.redis import connect
from bandit_router.adapters.redis import keys as names
from bandit_router.ports.catalog import ABSENT, ANY_VERSION, Kind, SchemaTooNew, VersionConflict
from tests.conftest import flush


@pytest.fixture
def catalog(store):
    return store.catalog


async def put(catalog, key, body=b"{}", *, kind=Kind.POOL, expected_version=ANY_VERSION):
    return await catalog.put(kind, key, body, expected_version=expected_version)


async def keys(catalog, *, kind=Kind.POOL, prefix="", after="", limit=100):
    return [document.key for document in await catalog.list(kind, prefix=prefix, after=after, limit=limit)]


async def test_a_document_comes_back_as_it_went_in(catalog):
    document = await put(catalog, "chat", b"17 \x00\xff binary")
    assert document.body == b"17 \x00\xff binary"
    assert await catalog.get(Kind.POOL, "chat") == document


async def test_an_absent_document_is_none(catalog):
    assert await catalog.get(Kind.POOL, "chat") is None


async def test_kinds_do_not_mix(catalog):
    await put(catalog, "x", kind=Kind.POOL)
    assert await catalog.get(Kind.TENANT, "x") is None


async def test_versions_grow_across_the_whole_catalog(catalog):
    first = await put(catalog, "a")
    second = await put(catalog, "b", kind=Kind.TENANT)
    third = await put(catalog, "a")
    assert 0 < first.version < second.version < third.version


async def test_creating_what_exists_is_a_conflict(catalog):
    await put(catalog, "a", b"1", expected_version=ABSENT)
    with pytest.raises(VersionConflict):
        await put(catalog, "a", b"2", expected_version=ABSENT)
    assert (await catalog.get(Kind.POOL, "a")).body == b"1"


async def test_an_update_of_the_version_seen_succeeds_once(catalog):
    seen = await put(catalog, "a")
    await put(catalog, "a", b"2", expected_version=seen.version)
    with pytest.raises(VersionConflict):
        await put(catalog, "a", b"3", expected_version=seen.version)


async def test_an_update_of_what_is_absent_is_a_conflict(catalog):
    with pytest.raises(VersionConflict):
        await put(catalog, "a", expected_version=7)


async def test_one_of_many_concurrent_updates_wins(backend):
    catalogs = [backend.store.catalog, backend.another().catalog]
    seen = await put(catalogs[0], "a")
    results = await asyncio.gather(
        *(put(catalogs[n % 2], "a", b"%d" % n, expected_version=seen.version) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, VersionConflict) for result in results) == 1


async def test_deleting_tells_whether_there_was_anything(catalog):
    await put(catalog, "a")
    assert await catalog.delete(Kind.POOL, "a", expected_version=ANY_VERSION)
    assert not await catalog.delete(Kind.POOL, "a", expected_version=ANY_VERSION)
    assert await catalog.get(Kind.POOL, "a") is None


async def test_deleting_another_version_is_a_conflict(catalog):
    document = await put(catalog, "a")
    with pytest.raises(VersionConflict):
        await catalog.delete(Kind.POOL, "a", expected_version=document.version + 1)
    assert await catalog.delete(Kind.POOL, "a", expected_version=document.version)


async def test_a_document_made_again_has_a_higher_version(catalog):
    first = await put(catalog, "a")
    await catalog.delete(Kind.POOL, "a", expected_version=ANY_VERSION)
    assert (await put(catalog, "a", expected_version=ABSENT)).version > first.version


async def test_listing_is_in_key_order_with_bodies(catalog):
    for key in ("b", "é", "a", "z", "B"):
        await put(catalog, key, key.encode())
    documents = await catalog.list(Kind.POOL, prefix="", after="", limit=100)
    assert [d.key for d in documents] == ["B", "a", "b", "z", "é"]
    assert [d.body.decode() for d in documents] == ["B", "a", "b", "z", "é"]


async def test_listing_keeps_to_its_prefix(catalog):
    for key in ("chat gpt", "chat opus", "chatty gpt", "code gpt"):
        await put(catalog, key, kind=Kind.ARM)
    assert await keys(catalog, kind=Kind.ARM, prefix="chat ") == ["chat gpt", "chat opus"]
    assert await keys(catalog, kind=Kind.ARM, prefix="chat ", after="chat gpt") == ["chat opus"]
    assert await keys(catalog, kind=Kind.ARM, prefix="chat ", after="a") == ["chat gpt", "chat opus"]
    assert await keys(catalog, kind=Kind.ARM, prefix="chat ", after="z") == []


async def test_pages_put_together_are_the_whole_list(catalog):
    names = [f"k{n:02d}" for n in range(11)]
    for name in names:
        await put(catalog, name)
    seen, after = [], ""
    while page := await keys(catalog, after=after, limit=4):
        seen += page
        after = page[-1]
    assert seen == names


async def test_a_deleted_document_is_not_listed(catalog):
    await put(catalog, "a")
    await put(catalog, "b")
    await catalog.delete(Kind.POOL, "a", expected_version=ANY_VERSION)
    assert await keys(catalog) == ["b"]


async def test_an_untouched_catalog_has_no_changes(catalog):
    changes = await catalog.changes(0)
    assert (changes.version, changes.keys) == (0, ())


async def test_changes_name_what_was_touched_last_and_lead_to_now(catalog):
    await put(catalog, "a")
    seen = (await catalog.changes(0)).version
    await put(catalog, "b c", kind=Kind.ARM)
    await put(catalog, "d", kind=Kind.TENANT)
    await put(catalog, "d", kind=Kind.TENANT)
    changes = await catalog.changes(seen)
    assert changes.keys == ((Kind.ARM, "b c"), (Kind.TENANT, "d"))
    assert (await catalog.changes(changes.version)).keys == ()
    assert (await catalog.changes(changes.version)).version == changes.version


async def test_deletions_appear_among_the_changes(catalog):
    await put(catalog, "a")
    seen = (await catalog.changes(0)).version
    await catalog.delete(Kind.POOL, "a", expected_version=ANY_VERSION)
    assert (await catalog.changes(seen)).keys == ((Kind.POOL, "a"),)


async def test_a_refused_write_is_no_change(catalog):
    seen = (await put(catalog, "a")).version
    with pytest.raises(VersionConflict):
        await put(catalog, "a", expected_version=ABSENT)
    await catalog.delete(Kind.POOL, "nothing", expected_version=ANY_VERSION)
    assert (await catalog.changes(seen)).keys == ()


async def test_changes_continue_what_was_seen_by_its_version_and_stamp(catalog):
    nothing = await catalog.changes(0, "")
    assert nothing.continues
    assert (await catalog.changes(nothing.version, nothing.stamp)).continues
    await put(catalog, "a")
    seen = await catalog.changes(0)
    await put(catalog, "b")
    now = await catalog.changes(seen.version, seen.stamp)
    assert now.continues
    assert now.stamp not in ("", seen.stamp)
    assert (await catalog.changes(now.version, now.stamp)).continues


async def test_a_version_that_was_made_otherwise_or_never_is_not_continued(catalog):
    await put(catalog, "a")
    seen = await catalog.changes(0)
    assert not (await catalog.changes(seen.version, seen.stamp + "9")).continues
    assert not (await catalog.changes(seen.version + 1, seen.stamp)).continues


async def test_stamps_are_kept_of_the_latest_versions_alone(catalog, monkeypatch):
    for module in ("memory", "redis"):
        monkeypatch.setattr(f"bandit_router.adapters.{module}.catalog.STAMPS_KEPT", 3)
    told = []
    for number in range(5):
        await put(catalog, f"k{number}")
        told.append(await catalog.changes(0))
    answers = [await catalog.changes(seen.version, seen.stamp) for seen in told]
    assert [answer.continues for answer in answers] == [False, False, True, True, True]


async def test_a_catalog_without_stamps_that_has_lost_its_last_version_is_not_continued(valkey_url):
    flush(valkey_url)
    store = connect(valkey_url, 5.0)
    with redis.Redis.from_url(valkey_url) as client:
        client.set(names.CATALOG_VERSION, 5)
        assert (await store.catalog.changes(5, "")).continues
        client.set(names.CATALOG_VERSION, 4)
        assert not (await store.catalog.changes(5, "")).continues
    await store.close()


async def test_kinds_of_documents_that_newer_code_has_are_passed_over(valkey_url):
    flush(valkey_url)
    store = connect(valkey_url, 5.0)
    await put(store.catalog, "a")
    with redis.Redis.from_url(valkey_url) as client:
        client.zadd(names.CATALOG_CHANGES, {"wonder x": 2})
    assert (await store.catalog.changes(0)).keys == ((Kind.POOL, "a"),)
    await store.close()


async def test_an_empty_store_bears_the_first_schema_whatever_code_comes_first(catalog):
    assert await catalog.schema() == 0
    await catalog.check_schema(4)
    assert await catalog.schema() == 1
    await catalog.check_schema(1)


async def test_a_store_of_a_newer_schema_is_refused_with_the_version_it_needs(catalog):
    await catalog.raise_schema(3)
    await catalog.check_schema(3)
    with pytest.raises(SchemaTooNew, match="3"):
        await catalog.check_schema(2)


async def test_the_schema_is_raised_and_never_lowered(catalog):
    await catalog.check_schema(3)
    for version, borne in ((1, 1), (5, 5), (4, 5)):
        await catalog.raise_schema(version)
        assert await catalog.schema() == borne
    await catalog.check_schema(5)
    with pytest.raises(SchemaTooNew, match="5"):
        await catalog.check_schema(4)


async def test_the_change_feed_tells_the_schema_to_replicas_that_run_on(backend, catalog):
    other = backend.another().catalog
    assert (await other.changes(0)).schema == 0
    await catalog.check_schema(1)
    assert (await other.changes(0)).schema == 1
    seen = (await put(catalog, "a")).version
    await catalog.raise_schema(2)
    changes = await other.changes(seen)
    assert (changes.schema, changes.keys) == (2, ())


async def test_whoever_finds_the_schema_just_raised_waits_until_others_must_have_noticed(backend, catalog):
    if backend.name == "memory":
        pytest.skip("no code but this process's is on it")
    other = backend.another().catalog
    began_s = time.monotonic()
    raising = asyncio.create_task(catalog.raise_schema(2))

    async def is_raised():
        return await other.schema() == 2

    await backend.until(is_raised)
    await other.raise_schema(2)
    assert time.monotonic() - began_s >= 0.95
    await raising
    settled_s = time.monotonic()
    await other.raise_schema(2)
    assert time.monotonic() - settled_s < 0.5


async def test_a_store_answers_a_ping(store):
    await store.ping()
