"""Two versions of the code on one store: forwards and back under load, and apart once the newer one has to go alone."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import redis
from learned import assert_is_one_fold_of_the_log, has_learned_all, log_of
from older_code import Callers, CodeServer, code_of, start_refused
from server_process import ROOT, ServerProcess, dump, settled_dump, wait_until
from test_server import NOT_SERVING, health
from test_state_commands import run

from bandit_router.adapters.redis import keys
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.errors import RouterError
from tests.conftest import flush
from tests.integration.books import from_records, from_window, recorded
from tests.integration.conftest import fill

BEFORE_DEFAULTS = "b1a7ecf"
"""Before rewards were assumed by default and windows went on under another rule; it looks at the version at a start."""

BEFORE_SECOND = "f226a2c"
"""Before schema 2; a running server notices that it is there."""

FADES_OTHERWISE = ("recency",)
"""The latest rewards fade over 40 rewards, and over 100 in the older code: what both have folded is neither's, for a
while (docs/decisions/0029-following-silent-changes.md). Everything else is one fold."""

PER_STEP = 15
NOTICED_S = 2.0


class Pair:
    """Two servers on one store, each replaced now and then by one of other code."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._started = 0
        self.servers: list[CodeServer] = []

    def start(self, tree: Path) -> CodeServer:
        self._started += 1
        return CodeServer(tree, self._folder / f"server-{self._started}", redis_url=self._url)

    def replace(self, index: int, tree: Path, *, kill: bool) -> None:
        """The old one ends first, in an orderly way or not; callers have the other one meanwhile."""
        old = self.servers[index]
        if kill:
            old.kill()
        else:
            assert old.terminate() == 0
        self.servers[index] = self.start(tree)
        old.__exit__()

    def close(self) -> None:
        for server in self.servers:
            server.__exit__()


@pytest.fixture
def url(redis_url: str) -> str:
    flush(redis_url)
    return redis_url


@pytest.fixture
def pair(url: str, tmp_path: Path) -> Pair:
    pair = Pair(url, tmp_path)
    yield pair  # type: ignore[misc]
    pair.close()


def assert_all_is_there_once(callers: Callers, store: redis.Redis) -> None:
    """What was acknowledged is on record, settled and rated once, and the window is the sum of the records."""
    assert callers.wrong == []
    assert len(set(callers.decided.values())) == len(callers.decided)
    assert recorded([store], "acme") == callers.costs
    assert from_window([store], "acme") == from_records([store], "acme")
    assert from_window([store], "acme").held_nusd == 0
    settled: list[str] = []
    rated: dict[str, list[float]] = {}
    for rows in log_of(store).values():
        for _, fields in rows:
            decision_id = decode_decision(fields[b"d"]).decision_id
            before, after = decode_outcome(fields[b"b"]), decode_outcome(fields[b"a"])
            if before.bill is None and after.bill is not None:
                settled.append(decision_id)
            if before.reward != after.reward:
                rated.setdefault(decision_id, []).append(after.reward)
    assert sorted(settled) == sorted(callers.costs)
    assert rated == {decision_id: [reward] for decision_id, reward in callers.rewards.items()}


def done(server: ServerProcess, *words: str) -> None:
    result = run(server, *words)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("commit", [BEFORE_DEFAULTS, BEFORE_SECOND])
def test_a_rolling_restart_goes_forwards_and_back_under_load(
    pair: Pair, url: str, tmp_path: Path, commit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, began_s = code_of(commit, tmp_path), time.monotonic()
    pair.servers = [pair.start(old), pair.start(old)]
    with pair.servers[0].client() as client:
        fill(client)
    callers = Callers(pair.servers)  # type: ignore[arg-type]
    with callers.at_work():
        callers.wait_for(PER_STEP)
        for step, (index, tree) in enumerate([(0, ROOT), (1, ROOT), (0, old), (1, old), (0, ROOT)]):
            pair.replace(index, tree, kill=step % 2 == 1)
            callers.wait_for(PER_STEP)
    with redis.Redis.from_url(url) as store:
        wait_until(lambda: has_learned_all(store))
        assert_all_is_there_once(callers, store)
        assert_is_one_fold_of_the_log(store, features=1, but=FADES_OTHERWISE)
        assert store.get(keys.CATALOG_SCHEMA) == b"1"
    with capsys.disabled():
        told = f"{len(callers.costs)} decisions, {callers.repeats} calls repeated, {time.monotonic() - began_s:.1f} s"
        print(f"\nbetween {commit} and now: {told}")


def test_files_go_from_older_code_to_newer_and_back_until_they_need_the_newer(tmp_path: Path) -> None:
    old, file = code_of(BEFORE_DEFAULTS, tmp_path), str(tmp_path / "state.brs")
    with CodeServer(old, tmp_path / "old") as older, older.client(tenant_id="acme") as client, older.store() as store:
        fill(client)
        callers = Callers([older])
        with callers.at_work():
            callers.wait_for(PER_STEP)
        open_decision = client.route(query="open", max_output_tokens=50)
        wait_until(lambda: has_learned_all(store))
        budget = client.admin.get_budget("acme")
        done(older, "state", "export", file)
        with ServerProcess(tmp_path / "new") as newer, newer.client(tenant_id="acme") as there, newer.store() as its:
            done(newer, "state", "import", file)
            moved = there.admin.get_budget("acme")
            assert (moved.spent_nusd, moved.held_nusd) == (budget.spent_nusd, budget.held_nusd)
            assert moved.limit_nusd == moved.free_nusd + moved.held_nusd + moved.spent_nusd
            assert there.feedback(open_decision.decision_id, cost_nusd=7, reward=1.0).status == "APPLIED"
            callers.decided["open"], callers.costs[open_decision.decision_id] = open_decision.decision_id, 7
            callers.rewards[open_decision.decision_id] = 1.0
            wait_until(lambda: has_learned_all(its))
            assert_all_is_there_once(callers, its)
            assert_is_one_fold_of_the_log(its, features=1, but=FADES_OTHERWISE)

            done(newer, "state", "export", file)
            done(older, "state", "import", file, "--replace")
            assert recorded([store], "acme") == callers.costs
            there.admin.create_pool("silent", default_reward=0.5, default_reward_deadline_s=60)
            done(newer, "state", "export", file)
        before = settled_dump(store)
        assert run(older, "state", "import", file, "--replace").stderr.startswith("STATE_TOO_NEW")
        assert settled_dump(store) == before


def test_an_older_server_goes_out_of_service_when_a_newer_one_stores_what_it_would_misread(
    pair: Pair, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = code_of(BEFORE_SECOND, tmp_path)
    pair.servers = [pair.start(old), pair.start(ROOT)]
    older, newer = pair.servers
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(older.listen))
        asking = stack.enter_context(older.client(tenant_id="brief"))
        admin = stack.enter_context(newer.client()).admin
        store = stack.enter_context(redis.Redis.from_url(url))
        with newer.client() as client:
            fill(client)
        admin.create_tenant("brief", "main", limit_usd=1, hold_ttl_s=3)
        callers = Callers(pair.servers)  # type: ignore[arg-type]
        with callers.at_work():
            callers.wait_for(PER_STEP)
            open_decision = asking.route(query="open", max_output_tokens=50)
            began_s = time.monotonic()
            admin.create_pool("silent", default_reward=0.5, default_reward_deadline_s=60)
            wait_until(lambda: health(channel, "") == NOT_SERVING)
            noticed_s = time.monotonic() - began_s
            assert noticed_s < NOTICED_S
            callers.wait_for(PER_STEP)
        wait_until(lambda: has_learned_all(store))
        assert_all_is_there_once(callers, store)

        assert newer.terminate() == 0
        before = dump(store)
        for call in (
            lambda: asking.route(query="more", max_output_tokens=50),
            lambda: asking.feedback(open_decision.decision_id, cost_nusd=1, reward=1.0),
        ):
            with pytest.raises(RouterError, match="needs schema version 2, this code knows up to 1") as caught:
                call()
            assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STATE_UNREADABLE")
        wait_until(lambda: time.time() > open_decision.feedback_deadline.timestamp() + NOTICED_S)
        assert dump(store) == before == settled_dump(store)

        pair.servers[1] = pair.start(ROOT)
        wait_until(lambda: recorded([store], "brief")[open_decision.decision_id] == open_decision.hold_nusd)
        assert older.terminate() == 0
        for commit in (BEFORE_DEFAULTS, BEFORE_SECOND):
            told = start_refused(code_of(commit, tmp_path), redis_url=url, listen="127.0.0.1:0")
            assert "needs schema version 2; this code knows up to 1" in told
    with capsys.disabled():
        print(f"\nthe older server was out of service {noticed_s:.2f} s after the newer one was asked")
