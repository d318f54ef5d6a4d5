"""Several servers, many calls at once, one budget: exactly those calls are admitted that fit, whoever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from server_process import WAIT_LIMIT_S, ServerProcess, wait_until

from bandit_router import AsyncRouterClient, Route, RouterClient
from bandit_router.core.errors import BudgetExhausted, RouterError
from tests.conftest import flush

SERVERS = 4
FITTING = 100
KILL_AFTER = 25
HOLD_TTL_S = 4.0
PATIENCE_S = 60.0
CALL: dict[str, Any] = {"query": "How long is the Nile?", "prompt_tokens": 10, "max_output_tokens": 20}
STORES = ("valkey", "cluster")


@pytest.fixture(params=STORES)
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Servers on one store, started side by side, with a pool of one arm."""
    url = request.getfixturevalue(f"{request.param}_url")
    flush(url)
    with ExitStack() as stack, ThreadPoolExecutor(SERVERS) as pool:
        started = list(pool.map(lambda number: start(tmp_path / f"s{number}", url), range(SERVERS)))
        for server in started:
            stack.enter_context(server)
        with started[0].client() as client:
            client.admin.create_pool("main")
            client.admin.put_arm("main", "only", input_usd_per_mtok="1", output_usd_per_mtok="5")
        yield started


def start(data_dir: Path, url: str) -> ServerProcess:
    """A server with time to spare for its store: the machine may be busy."""
    return ServerProcess(data_dir, redis_url=url, store_timeout_s=PATIENCE_S)


def found(client: RouterClient, **fields: Any) -> int:
    """Make the tenants: an organisation with money for the calls that fit and a bit, and one under it with more.

    Returns the hold of one call.
    """
    client.admin.create_tenant("probe", "main", limit_usd=1)
    hold_nusd = client.route(**CALL, tenant_id="probe", dry_run=True).hold_nusd
    client.admin.create_tenant("acme", "main", limit_nusd=(FITTING + 1) * hold_nusd - 1, **fields)
    client.admin.create_tenant(
        "acme/team", "main", limit_usd=1, parent_tenant_id="acme", budget_policy="none", **fields
    )
    return hold_nusd


async def ask(servers: list[ServerProcess], calls: int, answered: list[Route], kill: int = 0) -> list[RouterError]:
    """So many calls at every server, all at once; the refusals. `kill`: servers to kill once some are answered."""
    refused: list[RouterError] = []

    async def one(client: AsyncRouterClient) -> None:
        try:
            answered.append(await client.route(**CALL, tenant_id="acme/team"))
        except RouterError as error:
            refused.append(error)
        if len(answered) >= KILL_AFTER:
            for server in servers[:kill]:
                server.process.kill()

    clients = [AsyncRouterClient(server.listen, timeout_s=PATIENCE_S) for server in servers]
    await asyncio.gather(*(one(client) for client in clients for _ in range(calls)))
    for client in clients:
        await client.close()
    return refused


@pytest.mark.parametrize("calls", [250, pytest.param(1000, marks=pytest.mark.soak)])
def test_servers_together_admit_exactly_the_calls_that_fit(servers: list[ServerProcess], calls: int) -> None:
    with servers[0].client() as client:
        hold_nusd = found(client)
        answered: list[Route] = []
        refused = asyncio.run(ask(servers, calls, answered))
        assert len(answered) == FITTING
        assert len(refused) == SERVERS * calls - FITTING
        assert {str(error) for error in refused if not isinstance(error, BudgetExhausted)} == set()
        assert len({route.decision_id for route in answered}) == FITTING
        for tenant_id in ("acme", "acme/team"):
            budget = client.admin.get_budget(tenant_id)
            assert (budget.held_nusd, budget.decisions) == (FITTING * hold_nusd, FITTING)
        assert client.admin.get_budget("acme").free_nusd == hold_nusd - 1


@pytest.mark.parametrize("calls", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_kills_in_the_middle_admit_no_call_too_many_and_leave_nothing_held(
    servers: list[ServerProcess], calls: int
) -> None:
    with servers[-1].client() as client:
        hold_nusd = found(client, hold_ttl_s=HOLD_TTL_S, expiry_policy="charge")
        answered: list[Route] = []
        asyncio.run(ask(servers, calls, answered, kill=2))
        assert KILL_AFTER <= len(answered) <= FITTING
        wait_until(lambda: client.admin.get_budget("acme").held_nusd == 0, limit_s=2 * WAIT_LIMIT_S)
        for tenant_id in ("acme", "acme/team"):
            budget = client.admin.get_budget(tenant_id)
            assert len(answered) <= budget.decisions <= FITTING
            assert budget.spent_nusd == budget.decisions * hold_nusd  # those unanswered have expired like the others
            assert budget.overrun_nusd == 0
