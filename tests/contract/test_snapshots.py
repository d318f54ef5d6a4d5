"""Snapshot store: versions, leases, fencing."""

from __future__ import annotations

import asyncio

import pytest

from bandit_router.ports.events import EventEntry
from bandit_router.ports.snapshots import NO_SNAPSHOT, DeadLetter, LetterChange, Snapshot, Stamp

POOL = "chat"
LONG_MS = 60_000


@pytest.fixture
def snapshots(store):
    return store.snapshots


async def test_a_pool_without_a_snapshot_loads_none(snapshots):
    assert await snapshots.load(POOL) is None


async def test_a_saved_snapshot_comes_back_byte_for_byte(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    snapshot = Snapshot(1, bytes(range(256)) * 1000, "a-1")
    assert await snapshots.save(POOL, token, snapshot, after=NO_SNAPSHOT)
    assert await snapshots.load(POOL) == snapshot


async def test_the_stamp_says_which_snapshot_is_stored(snapshots):
    assert await snapshots.stamp(POOL) == NO_SNAPSHOT
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, token, Snapshot(5, b"x", "a-1"), after=NO_SNAPSHOT)
    assert await snapshots.stamp(POOL) == Stamp(5, "a-1") == (await snapshots.load(POOL)).stamp


@pytest.mark.parametrize("after", [NO_SNAPSHOT, Stamp(4, "a-1"), Stamp(5, "a-2"), Stamp(6, "a-3"), Stamp(5)])
async def test_a_snapshot_made_from_another_than_the_stored_one_is_not_stored(snapshots, after):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, token, Snapshot(5, b"x", "a-1"), after=NO_SNAPSHOT)
    assert not await snapshots.save(POOL, token, Snapshot(7, b"y", "a-4"), after=after)
    assert (await snapshots.load(POOL)).state == b"x"


async def test_a_snapshot_made_from_one_that_is_gone_is_not_stored(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    assert not await snapshots.save(POOL, token, Snapshot(7, b"y", "a-4"), after=Stamp(6, "a-3"))
    assert await snapshots.load(POOL) is None


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
    await snapshots.save(POOL, first, Snapshot(1, b"a"), after=NO_SNAPSHOT)
    second = await backend.until(lambda: snapshots.acquire(POOL, "b", LONG_MS))
    assert not await snapshots.save(POOL, first, Snapshot(2, b"stale"), after=Stamp(1))
    assert await snapshots.save(POOL, second, Snapshot(2, b"b"), after=Stamp(1))
    assert (await snapshots.load(POOL)).state == b"b"


async def test_a_token_that_was_never_given_cannot_write(snapshots):
    assert not await snapshots.save(POOL, 1, Snapshot(1, b"x"), after=NO_SNAPSHOT)


async def test_one_of_many_concurrent_owners_gets_the_lease(backend):
    replicas = [backend.store.snapshots, backend.another().snapshots]
    tokens = await asyncio.gather(*(replicas[n % 2].acquire(POOL, f"o{n}", LONG_MS) for n in range(20)))
    assert sum(token is not None for token in tokens) == 1


async def test_a_deleted_snapshot_is_gone_and_old_tokens_stay_dead(snapshots):
    first = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, first, Snapshot(1, b"a"), after=NO_SNAPSHOT)
    await snapshots.release(POOL, "a")
    await snapshots.delete(POOL)
    assert await snapshots.load(POOL) is None
    assert await snapshots.acquire(POOL, "b", LONG_MS) > first
    assert not await snapshots.save(POOL, first, Snapshot(9, b"stale"), after=NO_SNAPSHOT)


async def test_pools_have_leases_of_their_own(snapshots):
    assert await snapshots.acquire("one", "a", LONG_MS) is not None
    assert await snapshots.acquire("two", "b", LONG_MS) is not None


def letter(number: int, tries: int = 1) -> DeadLetter:
    entry = EventEntry(number % 16, f"{number}-7", b"d\x00", b"before", b"after", -5, 1_000 + number)
    return DeadLetter("", entry, "why: ünlearnable", 2_000 + number, tries)


def numbers(letters) -> list[int]:
    return [int(found.entry.entry_id.partition("-")[0]) for found in letters]


async def test_dead_letters_come_with_a_snapshot_and_are_read_back_in_pages(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    change = LetterChange(add=tuple(letter(n) for n in range(5)))
    assert await snapshots.save(POOL, token, Snapshot(1, b"x"), after=NO_SNAPSHOT, letters=change)
    first = await snapshots.letters(POOL, after_id="", limit=3)
    rest = await snapshots.letters(POOL, after_id=first[-1].letter_id, limit=3)
    assert numbers([*first, *rest]) == [0, 1, 2, 3, 4]
    assert first[1] == DeadLetter(first[1].letter_id, letter(1).entry, letter(1).reason, 2_001, 1)


async def test_dead_letters_of_a_snapshot_that_is_not_stored_are_not_stored(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, token, Snapshot(1, b"x"), after=NO_SNAPSHOT)
    change = LetterChange(add=(letter(1),))
    assert not await snapshots.save(POOL, token, Snapshot(1, b"x"), after=NO_SNAPSHOT, letters=change)
    assert not await snapshots.save(POOL, token + 1, Snapshot(2, b"x"), after=Stamp(1), letters=change)
    assert list(await snapshots.letters(POOL, after_id="", limit=10)) == []


async def test_only_letters_present_when_it_was_asked_for_are_tried_again(snapshots):
    await snapshots.redrive(POOL)
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    change = LetterChange(add=(letter(1), letter(2)))
    await snapshots.save(POOL, token, Snapshot(1, b"x"), after=NO_SNAPSHOT, letters=change)
    assert list(await snapshots.redriven(POOL, 10)) == []
    await snapshots.redrive(POOL)
    await snapshots.save(POOL, token, Snapshot(2, b"x"), after=Stamp(1), letters=LetterChange(add=(letter(3),)))
    asked = await snapshots.redriven(POOL, 10)
    assert numbers(asked) == [1, 2]
    assert numbers(await snapshots.redriven(POOL, 1)) == [1]
    change = LetterChange(add=(letter(2, tries=2),), remove=tuple(found.letter_id for found in asked))
    await snapshots.save(POOL, token, Snapshot(3, b"x"), after=Stamp(2), letters=change)
    assert list(await snapshots.redriven(POOL, 10)) == []
    left = await snapshots.letters(POOL, after_id="", limit=10)
    assert [(number, found.tries) for number, found in zip(numbers(left), left, strict=True)] == [(3, 1), (2, 2)]


async def test_a_deleted_pool_leaves_no_dead_letters(snapshots):
    token = await snapshots.acquire(POOL, "a", LONG_MS)
    await snapshots.save(POOL, token, Snapshot(1, b"x"), after=NO_SNAPSHOT, letters=LetterChange(add=(letter(1),)))
    await snapshots.redrive(POOL)
    await snapshots.delete(POOL)
    await snapshots.save(POOL, token, Snapshot(1, b"x"), after=NO_SNAPSHOT, letters=LetterChange(add=(letter(2),)))
    assert numbers(await snapshots.letters(POOL, after_id="", limit=10)) == [2]
