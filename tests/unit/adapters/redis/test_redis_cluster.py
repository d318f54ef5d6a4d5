"""Redis Cluster: a frozen node holds up its own tenants only, and moved slots are followed."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import redis
from redis.crc import key_slot

from bandit_router.adapters.redis import connect, keys
from bandit_router.ports.ledger import StoreUnavailable
from tests.conftest import SLOTS, running_cluster

TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    with running_cluster(tmp_path_factory) as ports:
        yield ports


@pytest.fixture
async def store(ports):
    store = connect(f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[2]}", TIMEOUT_S)
    yield store
    await store.close()


def node_of(tenant_id, ports):
    share = SLOTS // len(ports)
    return min(key_slot(keys.account(tenant_id).encode()) // share, len(ports) - 1)


async def test_a_frozen_node_holds_up_its_own_tenants_only(store, ports):
    tenants = [f"tenant{n}" for n in range(30)]
    await asyncio.gather(*(store.ledger.open_account(tenant_id, 5, 1) for tenant_id in tenants))
    pid = redis.Redis(port=ports[1]).info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        limits = await asyncio.gather(*(store.ledger.base_limit(t) for t in tenants), return_exceptions=True)
    finally:
        os.kill(pid, signal.SIGCONT)
    frozen = {t for t, limit in zip(tenants, limits, strict=True) if isinstance(limit, StoreUnavailable)}
    assert frozen == {t for t in tenants if node_of(t, ports) == 1}
    assert [limit for limit in limits if not isinstance(limit, StoreUnavailable)] == [5] * (30 - len(frozen))


async def test_a_moved_slot_is_followed(store, ports):
    tenant_id = next(f"mover{n}" for n in range(1000) if node_of(f"mover{n}", ports) == 0)
    await store.ping()
    slot = key_slot(keys.account(tenant_id).encode())
    nodes = [redis.Redis(port=port) for port in ports]
    new_owner = nodes[2].execute_command("CLUSTER", "MYID")
    nodes[0].flushall()
    for node in (nodes[2], nodes[0], nodes[1]):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_owner)
    await asyncio.gather(*(store.ledger.open_account(tenant_id, 5, 1) for _ in range(20)))
    assert await store.ledger.base_limit(tenant_id) == 5
    assert nodes[2].exists(keys.account(tenant_id))
