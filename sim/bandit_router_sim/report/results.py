"""What `compare` left in its directory, as the page needs it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.compare.comparison import BASELINE
from bandit_router_sim.compare.report import COMPARE_JSON
from bandit_router_sim.compare.tasks import REFERENCE
from bandit_router_sim.kept.cache import Details, kept_arrays
from bandit_router_sim.logs.full import FloatArray

Place = tuple[str, float]
"""A policy's name and a budget in USD per request."""


class NotAComparison(ValueError):
    """The directory does not hold what `compare` writes."""


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the orders of a policy's runs at a budget. `refused`, `arm_shares`: shares of the requests."""

    reward: float
    spend_usd: float
    utilisation: float
    refused: float
    overspend: float
    arm_shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean reward of a policy less that of the default, its 95 % interval, and the policy's verdict."""

    policy: str
    budget_usd: float | None
    mean: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm with its means over the whole log."""

    arm_id: str
    cost_usd: float
    reward: float


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """The reported requests of the first order, in order: rewards (n,) and further arrays (n,) by name."""

    rewards: FloatArray
    details: Details


@dataclass(frozen=True, slots=True, eq=False)
class LogResults:
    """One log: `kinds` tells of every policy, in the order run, whether it is policy, peer or reference.

    `differences` has None as budget for the mean over all budgets. `accounts` may lack any place.
    """

    name: str
    requests: int
    orders: int
    kinds: Mapping[str, str]
    budgets_usd: Sequence[float]
    means: Mapping[Place, Means]
    differences: Mapping[tuple[str, float | None], Difference]
    arms: Sequence[Arm]
    accounts: Mapping[Place, Account]

    @property
    def policies(self) -> list[str]:
        """Names in the order run."""
        return list(self.kinds)

    @property
    def routers(self) -> list[str]:
        """Names without the references, which know what no router knows."""
        return [name for name, kind in self.kinds.items() if kind != REFERENCE]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """Everything the page shows. `provenance`: as `compare.provenance.Provenance`, empty if it was not kept."""

    logs: Sequence[LogResults]
    left_out: Sequence[str]
    provenance: Mapping[str, Any]

    @property
    def kinds(self) -> dict[str, str]:
        """Kinds of all policies of all logs."""
        return {name: kind for log in self.logs for name, kind in log.kinds.items()}


def read_results(directory: Path) -> Results:
    """The comparison in `directory`.

    Raises:
        NotAComparison: there is none, or it has no runs.
    """
    path = directory / COMPARE_JSON
    if not path.is_file():
        raise NotAComparison(f"{directory}: no {COMPARE_JSON} here; `compare` writes it when its runs are done")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not found.get("runs"):
        raise NotAComparison(f"{path}: no runs in it")
    by_log: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in found["runs"]:
        by_log[run["log"]].append(run)
    return Results(
        logs=[_log(name, runs, found, directory) for name, runs in by_log.items()],
        left_out=found.get("left_out", []),
        provenance=found.get("provenance") or {},
    )


def _log(name: str, runs: Sequence[dict[str, Any]], found: Mapping[str, Any], directory: Path) -> LogResults:
    places: dict[Place, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        places[run["policy"], run["budget_usd"]].append(run)
    differences = [_difference(entry) for entry in found.get("differences", []) if entry["log"] == name]
    return LogResults(
        name=name,
        requests=runs[0]["n"],
        orders=len({run["seed"] for run in runs}),
        kinds={run["policy"]: run["kind"] for run in runs},
        budgets_usd=sorted({run["budget_usd"] for run in runs}),
        means={place: _means(members) for place, members in places.items()},
        differences={(difference.policy, difference.budget_usd): difference for difference in differences},
        arms=[Arm(a["arm_id"], a["cost_usd_mean"], a["reward_mean"]) for a in found.get("arms", {}).get(name, [])],
        accounts=_accounts([entry for entry in found.get("detailed", []) if entry["log"] == name], directory),
    )


def _means(runs: Sequence[dict[str, Any]]) -> Means:
    def mean(field: str) -> float:
        return float(np.mean([run[field] for run in runs]))

    shares = np.mean([run["arm_shares"] for run in runs], axis=0)
    return Means(
        reward=mean("reward_mean"),
        spend_usd=mean("spend_usd_mean"),
        utilisation=mean("utilisation"),
        refused=float(np.mean([run["refusals"] / run["n"] for run in runs])),
        overspend=mean("overspend"),
        arm_shares=tuple(shares.tolist()),
    )


def _difference(entry: Mapping[str, Any]) -> Difference:
    return Difference(**{name: entry[name] for name in ("policy", "budget_usd", "mean", "low", "high", "verdict")})


def _accounts(detailed: Sequence[dict[str, Any]], directory: Path) -> dict[Place, Account]:
    accounts = {}
    for entry in detailed:
        kept = kept_arrays(directory, entry["key"])
        if kept is not None:
            rewards, details = kept
            accounts[entry["policy"], entry["budget_usd"]] = Account(rewards.astype(np.float64), details)
    return accounts


def has_baseline(log: LogResults) -> bool:
    """Whether the product's default ran on that log."""
    return BASELINE in log.kinds
