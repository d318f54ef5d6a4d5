"""One server per test module, with a small catalog."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_process import ServerProcess

from bandit_router import RouterClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the catalog of `fill`."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as process:
        with process.client() as client:
            fill(client)
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RouterClient]:
    """A client of tenant acme."""
    with server.client(tenant_id="acme") as client:
        yield client


def fill(client: RouterClient) -> None:
    """Two pools, three arms, and tenants with much and with hardly any money."""
    admin = client.admin
    admin.create_pool("main", seed=7, features=["hour"])
    admin.put_arm("main", "small", input_usd_per_mtok="0.15", output_usd_per_mtok="0.6", max_output_tokens=1000)
    admin.put_arm("main", "large", input_usd_per_mtok="2.5", output_usd_per_mtok="10", max_output_tokens=1000)
    admin.create_pool("vectors", encoder_id="vector:8", dimension=8)
    admin.put_arm("vectors", "only", input_usd_per_mtok="0", output_usd_per_mtok="0")
    admin.create_tenant("acme", "main", limit_usd=1000, expected_calls=100_000)
    admin.create_tenant("poor", "main", limit_nusd=1000)
    admin.create_tenant("poor-today", "main", limit_nusd=1000, window={"kind": "day", "time_zone": "Asia/Tokyo"})
    admin.create_tenant("vec", "vectors", limit_usd=1)
