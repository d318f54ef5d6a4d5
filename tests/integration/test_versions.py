"""Servers of which the store comes to need newer code."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from server_process import ServerProcess, dump, refused_start, wait_until
from test_server import NOT_SERVING, SERVING, health

from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.errors import RouterError
from tests.integration.conftest import fill

SCHEMA = "{catalog}:schema"
NOTICED_S = 2.0


def test_a_running_server_stops_answering_once_its_store_needs_newer_code(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client:
        fill(client)
        decision_id = client.route(query="hello").decision_id
        with server.store() as store, grpc.insecure_channel(server.listen) as channel:
            assert health(channel, "") == SERVING
            store.set(SCHEMA, SCHEMA_VERSION + 1)
            began_s = time.monotonic()
            wait_until(lambda: health(channel, "") == NOT_SERVING)
            assert time.monotonic() - began_s < NOTICED_S
            assert health(channel, "liveness") == SERVING
            before = dump(store)
            calls = (
                lambda: client.route(query="hello"),
                lambda: client.feedback(decision_id, cost_nusd=1, reward=0.5),
                lambda: client.admin.grant_budget("acme", amount_nusd=1, reason="more"),
                lambda: client.admin.create_pool("another"),
            )
            for call in calls:
                with pytest.raises(RouterError, match=f"needs schema version {SCHEMA_VERSION + 1}") as caught:
                    call()
                assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STATE_UNREADABLE")
            assert dump(store) == before
        assert server.log.count("schema_too_new") == 1
        assert server.terminate() == 0


def test_a_server_does_not_start_on_a_store_that_needs_newer_code(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        with server.store() as store:
            store.set(SCHEMA, SCHEMA_VERSION + 1)
        server.kill()
    refused = refused_start(data_dir=str(tmp_path / "data"), listen="127.0.0.1:0")
    assert refused.returncode == 2
    assert f"needs schema version {SCHEMA_VERSION + 1}; this code knows up to {SCHEMA_VERSION}" in refused.stderr
