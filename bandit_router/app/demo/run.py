"""Running the demo: a server of its own, the arms and the tenant, and the stream of prompts."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.console import Console

from bandit_router.app.demo.display import Progress, print_verdict
from bandit_router.app.demo.recordings import Recording, Recordings, load_recordings
from bandit_router.app.demo.tally import BudgetSeen, Tally, Verdict, measure_yardsticks
from bandit_router.client import AsyncRouterClient
from bandit_router.core.errors import BudgetExhausted
from bandit_router.core.money import nusd_to_usd, usd_to_nusd

POOL_ID = "demo"
TENANT_ID = "demo"
DEFAULT_EXPLORATION = "igw"
CONCURRENCY = 4
START_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 10.0


class DemoServerFailed(Exception):
    """The demo's server did not come up."""


def run_demo(
    console: Console,
    *,
    budget_usd: float,
    requests: int,
    seed: int,
    exploration: str = DEFAULT_EXPLORATION,
    data_dir: Path | None = None,
) -> Verdict:
    """Stream recorded prompts through a server and print what came of it. Raises RecordingsMissing."""
    recordings = load_recordings().shuffled(seed=seed, count=requests)
    with _directory(data_dir) as directory:
        run = _run(console, recordings, directory, budget_usd=budget_usd, seed=seed, exploration=exploration)
        verdict = asyncio.run(run)
    print_verdict(console, verdict)
    return verdict


async def _run(
    console: Console, recordings: Recordings, directory: Path, *, budget_usd: float, seed: int, exploration: str
) -> Verdict:
    count = len(recordings.prompts)
    tally = Tally(requests=count, limit_nusd=usd_to_nusd(f"{budget_usd * count:.9f}"))
    async with _server(directory) as target, AsyncRouterClient(target, tenant_id=TENANT_ID) as client:
        await _set_up(client, recordings, tally, seed=seed, exploration=exploration)
        console.print(f"server at {target}, data in {directory}; {count} prompts, {len(recordings.arms)} arms")
        started_s = time.perf_counter()
        with Progress(console, tally) as progress:
            await _stream(client, recordings, tally, progress)
        elapsed_s = time.perf_counter() - started_s
        seen = await client.admin.get_budget(TENANT_ID)
    budget = BudgetSeen(
        limit_nusd=seen.limit_nusd,
        spent_nusd=seen.spent_nusd,
        held_nusd=seen.held_nusd,
        free_nusd=seen.free_nusd,
        overrun_nusd=seen.overrun_nusd,
    )
    yardsticks = measure_yardsticks(recordings, spend_usd_mean=nusd_to_usd(budget.spent_nusd) / count)
    return Verdict(tally=tally, budget=budget, elapsed_s=elapsed_s, yardsticks=yardsticks)


async def _set_up(
    client: AsyncRouterClient, recordings: Recordings, tally: Tally, *, seed: int, exploration: str
) -> None:
    admin = client.admin
    await admin.create_pool(POOL_ID, seed=seed, exploration=exploration)
    for arm in recordings.arms:
        await admin.put_arm(
            POOL_ID,
            arm.arm_id,
            input_usd_per_mtok=arm.input_usd_per_mtok,
            output_usd_per_mtok=arm.output_usd_per_mtok,
            max_output_tokens=arm.max_output_tokens,
        )
    await admin.create_tenant(TENANT_ID, POOL_ID, limit_nusd=tally.limit_nusd, expected_calls=tally.requests)


async def _stream(client: AsyncRouterClient, recordings: Recordings, tally: Tally, progress: Progress) -> None:
    """A few workers take the prompts in turn, as an application with that many requests under way would."""
    waiting = iter(enumerate(recordings.prompts))
    columns = {arm.arm_id: column for column, arm in enumerate(recordings.arms)}

    async def work() -> None:
        for number, recording in waiting:
            await _serve(client, number, recording, columns, tally)
            progress.update()

    await asyncio.gather(*[work() for _ in range(CONCURRENCY)])


async def _serve(
    client: AsyncRouterClient, number: int, recording: Recording, columns: dict[str, int], tally: Tally
) -> None:
    try:
        route = await client.route(query=recording.prompt, request_id=f"demo-{number}", timeout_s=CALL_TIMEOUT_S)
    except BudgetExhausted:
        tally.refusals += 1
        return
    column = columns[route.arm_id]
    reward, cost_nusd = recording.rewards[column], recording.costs_nusd[column]
    await client.feedback(route.decision_id, cost_nusd=cost_nusd, reward=reward, timeout_s=CALL_TIMEOUT_S)
    tally.decided(route.arm_id, reward=reward, cost_nusd=cost_nusd, price_per_usd=route.price_per_usd)


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="bandit-router-demo-") as directory:
        yield Path(directory)


@asynccontextmanager
async def _server(directory: Path) -> AsyncIterator[str]:
    """A server process on a free port; its address. Ends with the block."""
    command = ("-m", "bandit_router.app.cli", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(directory))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        if not line:
            raise DemoServerFailed("the server ended before it was ready; try: bandit-router serve")
        yield json.loads(line)["listen"]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
