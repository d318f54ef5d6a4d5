"""Snapshot store: versions, leases, fencing."""

from __future__ import annotations

import asyncio

import pytest

from bandit_router.ports.snapshots import Snapshot

POOL = "chat"
LONG_MS = 60_000


@pytest.fixture
def snapshots(store):
    return store.snapshots


async def test_a_pool_without_a_snapshot_loads_none(snapshots):
    assert await snapshots.load(POOL, -1) is None


async def test_a_saved_snapshot_comes_back_byte_for_byte(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    snapshot = Snapshot(1, bytes(range(256)) * 1000)
    assert await snapshots.save(POOL, token, snapshot)
    assert await snapshots.load(POOL, 0) == snapshot


async def test_load_gives_newer_snapshots_only(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, token, Snapshot(5, b"x"))
    assert await snapshots.load(POOL, 5) is None
    assert (await snapshots.load(POOL, 4)).version == 5


async def test_a_version_that_is_not_newer_is_not_stored(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, token, Snapshot(5, b"x"))
    assert not await snapshots.save(POOL, token, Snapshot(5, b"y"))
    assert not await snapshots.save(POOL, token, Snapshot(4, b"z"))
    assert (await snapshots.load(POOL, 0)).state == b"x"


async def test_renewing_a_lease_keeps_its_token(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    assert await snapshots.acquire(POOL, "a", LONG_MS) == token


async def test_a_lease_keeps_others_out(snapshots):
    await snapshots.acquire(POOL, "a", LONG_MS)
    assert await snapshots.acquire(POOL, "b", LONG_MS) is None


async def test_a_released_lease_goes_to_the_next_owner_with_a_higher_token(snapshots):
    first = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.release(POOL, "a")
    assert await snapshots.acquire(POOL, "b", LONG_MS) > first


async def test_only_its_owner_can_release_a_lease(snapshots):
    await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.release(POOL, "b")
    assert await snapshots.acquire(POOL, "b", LONG_MS) is None


async def test_releasing_what_nobody_holds_is_fine(snapshots):
    await snapshots.release(POOL, "a")


async def test_an_expired_lease_goes_to_the_next_owner_with_a_higher_token(backend, snapshots):
    first = await snapshots.acquire(POOL, "a", 20)
    second = await backend.until(lambda: snapshots.acquire(POOL, "b", LONG_MS))
    assert second > first


async def test_a_superseded_token_cannot_write(backend, snapshots):
    first = await snapshots.acquire(POOL, "a", 20)
    await snapshots.save(POOL, first, Snapshot(1, b"a"))
    second = await backend.until(lambda: snapshots.acquire(POOL, "b", LONG_MS))
    assert not await snapshots.save(POOL, first, Snapshot(2, b"stale"))
    assert await snapshots.save(POOL, second, Snapshot(2, b"b"))
    assert (await snapshots.load(POOL, 0)).state == b"b"


async def test_a_token_that_was_never_given_cannot_write(snapshots):
    assert not await snapshots.save(POOL, 1, Snapshot(1, b"x"))


async def test_one_of_many_concurrent_owners_gets_the_lease(backend):
    replicas = [backend.store.snapshots, backend.another().snapshots]
    tokens = await asyncio.gather(*(replicas[n % 2].acquire(POOL, f"o{n}", LONG_MS) for n in range(20)))
    assert sum(token is not None for token in tokens) == 1


async def test_a_deleted_snapshot_is_gone_and_old_tokens_stay_dead(snapshots):
    first = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, first, Snapshot(1, b"a"))
    await snapshots.release(POOL, "a")
    await snapshots.delete(POOL)
    assert await snapshots.load(POOL, -1) is None
    assert await snapshots.acquire(POOL, "b", LONG_MS) > first
    assert not await snapshots.save(POOL, first, Snapshot(9, b"stale"))


async def test_pools_have_leases_of_their_own(snapshots):
    assert await snapshots.acquire("one", "a", LONG_MS) is not None
    assert await snapshots.acquire("two", "b", LONG_MS) is not None
