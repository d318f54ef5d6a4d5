"""How fast Route is beside a bare gRPC echo on the same library, machine and minute: a ratio, never a time.

Both servers are processes of their own; one client process asks them in turns, several rounds each, and the median of
the rounds' ratios counts.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from bandit_router import AsyncRouterClient, RouterClient
from bandit_router.v1 import router_pb2

ROUNDS = 7
CALLS = 600
CONCURRENCY = 32
PROMPT = "Summarise the following paragraph about the history of the postal service in two sentences. " * 4

ECHO = """
import asyncio, grpc

async def main():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Echo", {"Echo": handler})])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()

async def echo(request, context):
    return request

asyncio.run(main())
"""


def start(*command: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.fixture
def echo_target() -> Iterator[str]:
    process, port = start("-c", ECHO)
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def router_target(tmp_path: Path) -> Iterator[str]:
    words = ("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
    process, line = start("-m", "bandit_router.app.cli", *words)
    target = line.split('"listen": "')[1].split('"')[0]
    with RouterClient(target) as client:
        client.admin.create_pool("bench")
        for n, price in enumerate(("0.1", "0.5", "1.25")):
            client.admin.put_arm("bench", f"arm{n}", input_usd_per_mtok=price, output_usd_per_mtok=price)
        client.admin.create_tenant("bench", "bench", limit_usd=1_000_000, expected_calls=10_000_000)
    yield target
    process.terminate()
    process.wait()


async def calls_per_s(call: Callable[[int], Awaitable[object]]) -> float:
    waiting = iter(range(CALLS))

    async def work() -> None:
        for number in waiting:
            await call(number)

    started_s = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(CONCURRENCY)])
    return CALLS / (time.perf_counter() - started_s)


@pytest.mark.bench
async def test_route_is_within_sight_of_a_bare_echo(echo_target: str, router_target: str) -> None:
    body = router_pb2.RouteRequest(tenant_id="bench", query=PROMPT).SerializeToString()
    ratios, routed = [], []
    async with (
        grpc.aio.insecure_channel(echo_target) as channel,
        AsyncRouterClient(router_target, tenant_id="bench", timeout_s=30.0) as router,
    ):
        echo = channel.unary_unary("/Echo/Echo")

        async def route(number: int) -> object:
            return await router.route(query=f"{PROMPT}{number}")

        await calls_per_s(route)
        for _ in range(ROUNDS):
            echoes = await calls_per_s(lambda _: echo(body))
            routed.append(await calls_per_s(route))
            ratios.append(routed[-1] / echoes)
    median = statistics.median(ratios)
    print(f"\nRoute {statistics.median(routed):.0f} calls/s, {median:.2f} of a bare echo's rate (rounds: {ratios})")
    assert median > 0.02
