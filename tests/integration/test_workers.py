"""`workers`: several processes behave as one server on one port and one store."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from pathlib import Path

from server_process import ServerProcess, refused_start, wait_until
from test_server import free_port

from bandit_router.errors import RouterError
from tests.integration.conftest import fill

COUNT = 'bandit_router_rpc_requests_total{code="OK",method="Route",worker="%d"}'


class Page:
    """The metrics of all workers."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def routes_of(self, worker: int) -> float:
        with urllib.request.urlopen(self._url, timeout=20) as answer:
            found = re.search(re.escape(COUNT % worker) + r" (\S+)", answer.read().decode())
        return 0.0 if found is None else float(found[1])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def route_once(server: ServerProcess) -> None:
    """One decision over a connection of its own: the kernel picks the worker."""
    with server.client(tenant_id="acme") as client:
        client.route(query="hello", max_output_tokens=1)


def test_workers_share_port_store_and_page_and_are_replaced_when_they_die(
    tmp_path: Path,
) -> None:
    page = Page(port := free_port())
    with ServerProcess(tmp_path / "data", workers=2, metrics_port=port) as server:
        first, second = server.ready["workers"]
        assert server.ready["pid"] == server.process.pid
        assert len({first, second, server.process.pid}) == 3
        with server.client() as client:
            fill(client)
        made = 0

        def both_have_decided() -> bool:
            nonlocal made
            route_once(server)
            made += 1
            return min(page.routes_of(0), page.routes_of(1)) > 0

        wait_until(both_have_decided)
        wait_until(lambda: page.routes_of(0) + page.routes_of(1) == made)
        with server.client() as client:
            assert client.admin.get_budget("acme").decisions == made
        refused = refused_start(data_dir=str(tmp_path / "other"), listen=server.listen, workers=2)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert server.listen in refused.stderr

        os.kill(first, signal.SIGKILL)
        wait_until(lambda: '"worker_lost"' in server.log)
        wait_until(lambda: page.routes_of(1) > 0)

        def replacement_has_decided() -> bool:
            try:
                route_once(server)
            except RouterError:
                return False
            return page.routes_of(0) > 0

        wait_until(replacement_has_decided, 60)
        assert server.terminate() == 0
        assert not is_alive(second)


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", workers=2) as server:
        workers = server.ready["workers"]
        server.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in workers))
