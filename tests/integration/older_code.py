"""Servers of code from the repository's own history, and callers that go from server to server while some restart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

import pytest
from server_process import ROOT, ServerProcess

from bandit_router import RouterClient
from bandit_router.errors import RouterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLERS = 3
PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""What callers repeat a call after."""

PATIENCE_S = 30.0
PAUSE_S = 0.02


def code_of(commit: str, folder: Path) -> Path:
    """The package as it was at a commit, unpacked in `folder`. Skips the test where the history is not at hand."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed: there is no older code to run")
    archive = folder / f"{commit}.tar"
    made = subprocess.run(
        [git, "-C", str(ROOT), "archive", f"--output={archive}", commit, "bandit_router"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"commit {commit} is not at hand (no clone, or a shallow one): {made.stderr.strip()}")
    tree = folder / commit
    with tarfile.open(archive) as packed:
        packed.extractall(tree, filter="data")
    return tree


class CodeServer(ServerProcess):
    """A server of the code in `tree`."""

    def __init__(self, tree: Path, data_dir: Path, **settings: object) -> None:
        self.tree = tree
        super().__init__(data_dir, **settings)

    def _spawn(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self.code, json.dumps(self.settings)]
        environment = {**os.environ, "PYTHONPATH": str(self.tree)}
        with self._stderr.open("a") as errors:
            return subprocess.Popen(
                command, cwd=self.tree, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )


def start_refused(tree: Path, **settings: object) -> str:
    """What a server of the code in `tree` says that is expected not to start."""
    ended = subprocess.run(
        [sys.executable, "-c", ServerProcess.code, json.dumps(settings)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    return ended.stderr


@dataclass
class Callers:
    """Callers that decide, bill and rate through any server that answers, and remember what they were told."""

    servers: list[ServerProcess]
    decided: dict[str, str] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)
    rewards: dict[str, float] = field(default_factory=dict)
    wrong: list[RouterError] = field(default_factory=list)
    repeats: int = 0
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Each finishes what it has begun before this returns."""
        stop = Event()
        threads = [Thread(target=self._work, args=(number, stop)) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many further decisions have been billed and rated."""
        enough, limit_s = len(self.rewards) + more, time.monotonic() + PATIENCE_S
        while len(self.rewards) < enough and not self.wrong:
            assert time.monotonic() < limit_s, "callers do not get on"
            time.sleep(PAUSE_S)

    def _work(self, caller: int, stop: Event) -> None:
        number = 0
        while not stop.is_set() and not self.wrong:
            number += 1
            request_id, cost_nusd, reward = f"{caller}-{number}", 1000 + number, (number % 5) / 4
            asked = {"query": f"question {number}", "request_id": request_id, "max_output_tokens": 50}
            route = self._told(caller + number, lambda client, asked=asked: client.route(**asked))
            if route is None:
                return
            decision_id = route.decision_id
            self.decided[request_id] = decision_id
            usage = {"cost_nusd": cost_nusd, "input_tokens": 5, "output_tokens": number % 40}
            for attempt in range(2):  # on another server the second time, where it must change nothing
                self._told(
                    caller + number + attempt,
                    lambda client, d=decision_id, u=usage: client.feedback(d, **u),
                )
            self.costs[decision_id] = cost_nusd
            self._told(caller, lambda client, d=decision_id, r=reward: client.feedback(d, reward=r))
            again = self._told(caller + 1, lambda client, asked=asked: client.route(**asked))
            if again is None or again.decision_id != decision_id:
                self.wrong.append(RouterError(f"{request_id} was decided twice"))
            self.rewards[decision_id] = reward

    def _told(self, first: int, call: Callable[[RouterClient], Any]) -> Any:
        """The answer of the first server that gives one; None for a refusal that will not pass."""
        limit_s, turn = time.monotonic() + PATIENCE_S, first
        while True:
            server = self.servers[turn % len(self.servers)]
            try:
                with server.client(tenant_id="acme", timeout_s=3.0) as client:
                    return call(client)
            except RouterError as fault:
                if fault.code not in PASSING or time.monotonic() > limit_s:
                    self.wrong.append(fault)
                    return None
                with self._lock:
                    self.repeats += 1
                turn += 1
                time.sleep(PAUSE_S)
