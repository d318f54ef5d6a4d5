"""Group commit: batching, limits, isolation, cancellation, time-outs. The link is a gate that the test opens."""

from __future__ import annotations

import asyncio

import pytest

from bandit_router.adapters.redis import group_commit
from bandit_router.adapters.redis.group_commit import AWAY_AFTER, MAX_BATCH, MAX_BATCHES_IN_FLIGHT, GroupCommit
from bandit_router.adapters.redis.link import ServerAway
from bandit_router.adapters.redis.scripts import plain
from bandit_router.ports.ledger import StoreUnavailable


class GatedLink:
    """Keeps batches back until `open`; then answers each command with its name, or with what `failing` says."""

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Event()
        self.failing = {}

    async def send(self, commands, *, timeout_s):
        names = [command.args[0] for command in commands]
        self.batches.append(names)
        await self.gate.wait()
        return [self.failing.get(name, name) for name in names]


@pytest.fixture
def link():
    return GatedLink()


@pytest.fixture
def group(link):
    return GroupCommit(link, timeout_s=5.0)


def ask(group, *names):
    return [asyncio.create_task(group.call(plain(name, "k"))) for name in names]


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_calls_of_one_moment_share_a_batch(link, group):
    link.gate.set()
    assert await asyncio.gather(*ask(group, "a", "b", "c")) == ["a", "b", "c"]
    assert link.batches == [["a", "b", "c"]]


async def test_calls_gather_while_batches_are_under_way(link, group):
    calls = []
    for name in "abcdef":
        calls += ask(group, name)
        await turns()
    assert link.batches == [["a"], ["b"]]
    link.gate.set()
    await asyncio.gather(*calls)
    assert link.batches == [["a"], ["b"], ["c", "d", "e", "f"]]


async def test_a_batch_is_bounded_and_so_are_those_in_flight(link, group):
    calls = ask(group, *(f"c{n}" for n in range(MAX_BATCH * 3)))
    await turns()
    assert [len(batch) for batch in link.batches] == [MAX_BATCH] * MAX_BATCHES_IN_FLIGHT
    link.gate.set()
    assert await asyncio.gather(*calls) == [f"c{n}" for n in range(MAX_BATCH * 3)]


async def test_one_more_than_the_queue_takes_is_refused(link, group, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_QUEUED", 3)
    calls = ask(group, "a", "b", "c")
    await turns()
    with pytest.raises(StoreUnavailable, match="3 calls wait"):
        await group.call(plain("d", "k"))
    link.gate.set()
    assert await asyncio.gather(*calls) == ["a", "b", "c"]
    assert await group.call(plain("d", "k")) == "d"


async def test_a_failing_command_does_not_fail_its_neighbours(link, group):
    link.failing["b"] = ValueError("bad")
    link.gate.set()
    first, second, third = await asyncio.gather(*ask(group, "a", "b", "c"), return_exceptions=True)
    assert (first, third) == ("a", "c")
    assert isinstance(second, ValueError)


async def test_a_call_cancelled_in_the_queue_is_not_sent(link, group):
    for name in "ab":
        ask(group, name)
        await turns()
    doomed, kept = ask(group, "doomed", "kept")
    await turns()
    doomed.cancel()
    link.gate.set()
    assert await kept == "kept"
    assert link.batches[-1] == ["kept"]


async def test_a_call_cancelled_on_its_way_leaves_its_batch_alone(link, group):
    doomed, kept = ask(group, "doomed", "kept")
    await turns()
    doomed.cancel()
    link.gate.set()
    assert await kept == "kept"


async def test_no_call_waits_longer_than_its_time_out(link):
    group = GroupCommit(link, timeout_s=0.02)
    results = await asyncio.wait_for(asyncio.gather(*ask(group, *"abc"), return_exceptions=True), 5)
    assert [str(result) for result in results] == ["no answer within 0.02 s"] * 3
    assert all(isinstance(result, StoreUnavailable) for result in results)


async def test_a_timed_out_call_is_not_sent_any_more(link):
    group = GroupCommit(link, timeout_s=0.02)
    for name in "ab":
        ask(group, name)
        await turns()
    with pytest.raises(StoreUnavailable):
        await group.call(plain("late", "k"))
    link.gate.set()
    assert await group.call(plain("next", "k")) == "next"
    assert ["late"] not in link.batches


async def test_a_bug_in_the_link_fails_the_batch_and_not_the_group(link, group):
    async def broken(commands, *, timeout_s):
        raise RuntimeError("bug")

    works, link.send = link.send, broken
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    with pytest.raises(StoreUnavailable):
        await group.call(plain("a", "k"))
    link.send = works
    link.gate.set()
    assert await group.call(plain("b", "k")) == "b"


async def test_closing_lets_calls_finish_and_refuses_new_ones(link, group):
    calls = ask(group, *(f"c{n}" for n in range(MAX_BATCH * 3)))
    await turns()
    closing = asyncio.create_task(group.close())
    await turns()
    link.gate.set()
    await closing
    assert [call.result() for call in calls] == [f"c{n}" for n in range(MAX_BATCH * 3)]
    with pytest.raises(StoreUnavailable, match="closed"):
        await group.call(plain("late", "k"))


async def test_a_server_that_lets_batches_down_is_away_until_a_probe_gets_through(link):
    group = GroupCommit(link, timeout_s=5.0)
    link.gate.set()
    works = link.send

    async def away(commands, *, timeout_s):
        link.batches.append(["tried"])
        return [ServerAway("refused")] * len(commands)

    link.send = away
    for _ in range(AWAY_AFTER + 1):
        with pytest.raises(StoreUnavailable, match="refused"):
            await group.call(plain("a", "k"))
    tried = len(link.batches)
    for _ in range(100):
        with pytest.raises(StoreUnavailable, match="is away"):
            await group.call(plain("b", "k"))
    assert len(link.batches) == tried
    link.send = works
    group._next_probe_s = 0.0
    assert await group.call(plain("c", "k")) == "c"
    assert await group.call(plain("d", "k")) == "d"


async def test_refusals_of_single_commands_do_not_make_the_server_away(link, group):
    link.failing["a"] = StoreUnavailable("OOM")
    link.gate.set()
    for _ in range(AWAY_AFTER + 1):
        with pytest.raises(StoreUnavailable, match="OOM"):
            await group.call(plain("a", "k"))
    assert await group.call(plain("b", "k")) == "b"
