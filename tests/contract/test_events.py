"""Event log: order, paging, trimming."""

from __future__ import annotations

import pytest
from ledger_builders import TENANT, commit_of, hold_request

from bandit_router.core.codec import decode_outcome
from bandit_router.core.outcomes import Feedback, apply_feedback
from bandit_router.core.partition import partition_of
from bandit_router.ports.events import KEEP_NOTHING, Keep, is_before

POOL = "chat"


@pytest.fixture
def append(backend):
    """Append an event per decision, each with the given tenant and pool."""

    async def append(*decision_ids, tenant_id=TENANT, pool_id=POOL):
        ledger, now_ms = backend.store.ledger, backend.clock.now_ms()
        await ledger.open_account(tenant_id, 10_000, 1)
        for decision_id in decision_ids:
            await ledger.hold(hold_request(now_ms, tenant_id=tenant_id, decision_id=decision_id))
            record = await ledger.read(tenant_id, decision_id)
            transition = apply_feedback(decode_outcome(record.outcome), Feedback(reward=0.5))
            names = {"tenant_id": tenant_id, "decision_id": decision_id, "pool_id": pool_id}
            assert await ledger.commit(commit_of(record, transition, now_ms, **names))

    return append


def decisions(entries):
    return [entry.decision.decode().removeprefix("decision ") for entry in entries]


async def test_an_empty_log_has_no_entries_and_no_positions(store):
    assert list(await store.events.read(POOL, {}, 10)) == []
    assert dict(await store.events.last(POOL)) == {}


async def test_entries_of_a_partition_come_in_the_order_of_their_commits(store, append):
    names = [f"d{n}" for n in range(20)]
    await append(*names)
    assert decisions(await store.events.read(POOL, {}, 100)) == names


async def test_reading_behind_a_position_gives_what_came_later(store, append):
    await append("d1", "d2", "d3")
    entries = await store.events.read(POOL, {}, 100)
    behind = await store.events.read(POOL, {entries[0].partition: entries[0].entry_id}, 100)
    assert decisions(behind) == ["d2", "d3"]


async def test_a_position_0_0_is_the_beginning(store, append):
    await append("d1")
    assert decisions(await store.events.read(POOL, {partition_of(TENANT): "0-0"}, 100)) == ["d1"]


async def test_the_limit_counts_per_partition(store, append):
    tenants = ["acme", "globex", "initech", "umbrella"]
    for tenant_id in tenants:
        await append("d1", "d2", "d3", tenant_id=tenant_id)
    entries = await store.events.read(POOL, {}, 2)
    partitions = {partition_of(tenant_id) for tenant_id in tenants}
    assert len(partitions) > 1
    assert {p: sum(e.partition == p for e in entries) for p in partitions} == dict.fromkeys(partitions, 2)


async def test_pages_put_together_are_the_whole_log(store, append):
    names = [f"d{n}" for n in range(11)]
    await append(*names)
    seen, after = [], {}
    while page := await store.events.read(POOL, after, 3):
        seen += decisions(page)
        after = {**after, **{entry.partition: entry.entry_id for entry in page}}
    assert seen == names


async def test_last_is_the_newest_position_of_each_partition(store, append):
    await append("d1", "d2")
    await append("d1", tenant_id="globex")
    last = await store.events.last(POOL)
    assert set(last) == {partition_of(TENANT), partition_of("globex")}
    assert list(await store.events.read(POOL, last, 100)) == []


async def test_trimming_drops_entries_up_to_and_including_the_position(store, append):
    await append("d1", "d2", "d3")
    entries = await store.events.read(POOL, {}, 100)
    await store.events.trim(POOL, {entries[1].partition: entries[1].entry_id}, KEEP_NOTHING)
    assert decisions(await store.events.read(POOL, {}, 100)) == ["d3"]


async def test_an_emptied_log_goes_on_behind_its_old_positions(store, append):
    await append("d1")
    position = dict(await store.events.last(POOL))
    await store.events.trim(POOL, position, KEEP_NOTHING)
    assert dict(await store.events.last(POOL)) == {}
    await append("d2")
    assert decisions(await store.events.read(POOL, position, 100)) == ["d2"]


async def test_trimming_nothing_is_fine(store, append):
    await append("d1")
    assert await store.events.trim(POOL, {}, KEEP_NOTHING) == 0
    assert await store.events.trim("other", {3: "5-0"}, KEEP_NOTHING) == 0
    assert decisions(await store.events.read(POOL, {}, 100)) == ["d1"]


async def test_pools_have_logs_of_their_own(store, append):
    await append("d1")
    await append("d2", pool_id="code")
    assert decisions(await store.events.read("code", {}, 100)) == ["d2"]


async def test_what_is_young_enough_is_kept(store, append):
    await append("d1", "d2", "d3")
    entries = await store.events.read(POOL, {}, 100)
    position, since_ms = {entries[2].partition: entries[2].entry_id}, int(entries[0].entry_id.partition("-")[0])
    assert await store.events.trim(POOL, position, Keep(since_ms, 100)) == 0
    assert decisions(await store.events.read(POOL, {}, 100)) == ["d1", "d2", "d3"]
    assert await store.events.trim(POOL, position, Keep(since_ms + 60_000, 100)) == 3


async def test_of_young_entries_no_more_than_the_newest_are_kept(store, append):
    await append("d1", "d2", "d3", "d4")
    position = dict(await store.events.last(POOL))
    assert await store.events.trim(POOL, position, Keep(0, 3)) == 1
    assert await store.events.trim(POOL, position, Keep(0, 3)) == 0
    assert decisions(await store.events.read(POOL, {}, 100)) == ["d2", "d3", "d4"]


async def test_what_no_snapshot_contains_is_never_dropped(store, append):
    await append("d1", "d2", "d3", "d4")
    entries = await store.events.read(POOL, {}, 100)
    assert await store.events.trim(POOL, {entries[1].partition: entries[1].entry_id}, Keep(0, 1)) == 2
    assert decisions(await store.events.read(POOL, {}, 100)) == ["d3", "d4"]


async def test_of_many_entries_too_many_all_are_dropped_over_several_calls(store, append):
    await append(*[f"d{n}" for n in range(300)])
    position = dict(await store.events.last(POOL))
    dropped = []
    while count := await store.events.trim(POOL, position, Keep(0, 10)):
        dropped.append(count)
    assert sum(dropped) == 290
    assert decisions(await store.events.read(POOL, {}, 100)) == [f"d{n}" for n in range(290, 300)]


async def test_the_log_says_up_to_where_it_was_trimmed(store, append):
    await append("d1", "d2", "d3")
    assert dict(await store.events.trimmed(POOL)) == {}
    entries = await store.events.read(POOL, {}, 100)
    position = {entries[1].partition: entries[1].entry_id}
    await store.events.trim(POOL, position, KEEP_NOTHING)
    assert dict(await store.events.trimmed(POOL)) == position
    assert dict(await store.events.trimmed("other")) == {}


def test_positions_are_compared_as_numbers():
    assert is_before("9-0", "10-0")
    assert is_before("9-9", "9-10")
    assert not is_before("9-10", "9-10")


async def test_the_log_says_whether_it_has_an_entry(store, append):
    assert await store.events.has(POOL, {})
    assert not await store.events.has(POOL, {partition_of(TENANT): "5-0"})
    await append("d1", "d2")
    first, second = await store.events.read(POOL, {}, 100)
    assert await store.events.has(POOL, {first.partition: first.entry_id})
    assert await store.events.has(POOL, {second.partition: second.entry_id})
    assert not await store.events.has(POOL, {second.partition: f"{second.entry_id}9"})
    assert not await store.events.has(POOL, {second.partition: second.entry_id, second.partition ^ 1: first.entry_id})
    await store.events.trim(POOL, {first.partition: first.entry_id}, KEEP_NOTHING)
    assert not await store.events.has(POOL, {first.partition: first.entry_id})
