"""The runs a comparison is made of. A task names its result: everything that can change it goes into its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bandit_router_sim.kept.keys import code_digest, key_of
from bandit_router_sim.logs.cost_range import cost_range_usd
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.replay.setting import Policy

POLICY, PEER, REFERENCE = "policy", "peer", "reference"
_SIM = "bandit_router_sim"
ENTRIES = {
    POLICY: (f"{_SIM}.compare.replayed", f"{_SIM}.replay.sweep"),
    PEER: (f"{_SIM}.peers.registry", f"{_SIM}.peers.runner", f"{_SIM}.compare.contexts"),
    REFERENCE: (f"{_SIM}.references.registry",),
}
"""The modules that run a task of that kind. A change in any that they import makes earlier results stale, and no other:
a peer need not run again because the product has changed."""

CALLERS = (f"{_SIM}.compare.run", f"{_SIM}.kept.cache")
"""Call them, and make of an outcome what is kept."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run: a policy of the product, or a peer or reference by name, at a budget per request, in one order."""

    kind: str
    name: str
    budget_usd: float
    seed: int
    learn_share: float
    policy: Policy | None = None
    version: str = ""

    def key(self, log_digest: str) -> str:
        """The same for runs that must agree, another otherwise: the setting, the log, and the code that ran."""
        code = code_digest(ENTRIES[self.kind], alone=CALLERS)
        described = {**asdict(self), "log": log_digest, "code": code}
        return key_of(described)


def tasks_of(
    runners: Sequence[tuple[str, str, Policy | None, str]],
    budgets_usd: Sequence[float],
    *,
    seeds: int,
    learn_share: float,
) -> list[Task]:
    """Every runner (kind, name, policy, version) at every budget in every order; whole orders one after another."""
    return [
        Task(kind, name, budget_usd, seed, learn_share, policy, version)
        for seed in range(seeds)
        for budget_usd in budgets_usd
        for kind, name, policy, version in runners
    ]


def budgets_between(log: FullLog, count: int) -> list[float]:
    """`count` budgets per request, log-spaced strictly between the cheapest and the dearest paid arm's mean cost.

    With three significant digits, so that they can be typed again. Raises UnusableLog.
    """
    low_usd, high_usd = cost_range_usd(log)
    inside = np.geomspace(low_usd, high_usd, count + 2)[1:-1]
    return [float(f"{budget:.2e}") for budget in inside.tolist()]
