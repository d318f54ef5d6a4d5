"""The course of a replay, laid out before it begins: which row is asked when, by whom, in which window and phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from bandit_router_sim.logs.full import BoolArray, FloatArray, FullLog, IndexArray
from bandit_router_sim.replay.order import learning_requests, order_of, random_of
from bandit_router_sim.replay.scenario import Change, TenantShare, check_arms, in_time, request_of
from bandit_router_sim.replay.setting import Setting

LEARNING = -1
"""The window and the phase of the learning stretch."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Arrays (n,) over the requests in the order replayed, but `is_rated`, which is over the log's rows.

    `windows`, `phases`: counted from 0 in the reported stretch, LEARNING before. `tenants`: positions in the
    scenario's list. `money_usd`: the part of its tenant's limit that falls on the request. `changes`: by the number of
    the request before which they happen.
    """

    rows: IndexArray
    tenants: IndexArray
    windows: IndexArray
    phases: IndexArray
    money_usd: FloatArray
    is_rated: BoolArray
    changes: tuple[tuple[int, Change], ...]
    learning: int

    def requests_of(self, tenant: int, window: int) -> int:
        """How many requests of the tenant fall into the window."""
        return int(np.sum((self.tenants == tenant) & (self.windows == window)))


def course_of(log: FullLog, setting: Setting) -> Course:
    """The course of a setting over a log. Raises ScenarioError if the scenario does not fit the log."""
    scenario, count = setting.scenario, len(log)
    random = random_of(setting.seed)
    order = order_of(count, random)
    is_rated = random.random(count) < scenario.reward_rate
    tenants = _draw_tenants(scenario.tenants, count, random)
    learning = learning_requests(count, setting.learn_share)
    reported = count - learning
    check_arms(scenario, log.arm_ids, requests=reported)
    traffic = _traffic_phases([log.sources[row] for row in order[learning:].tolist()], scenario.traffic)
    sorting = np.argsort(traffic, kind="stable")
    order[learning:] = order[learning:][sorting]
    changes = tuple((learning + request_of(c.at, reported), c) for c in in_time(scenario, requests=reported))
    before = np.full(learning, LEARNING)
    windows = np.concatenate([before, np.arange(reported) * scenario.windows // max(1, reported)])
    return Course(
        rows=order,
        tenants=tenants,
        windows=windows,
        phases=np.concatenate([before, _phases(traffic[sorting], [number - learning for number, _ in changes])]),
        money_usd=_money_usd(setting, tenants, windows),
        is_rated=is_rated,
        changes=changes,
        learning=learning,
    )


def _draw_tenants(shares: Sequence[TenantShare], count: int, random: np.random.Generator) -> IndexArray:
    edges = np.cumsum([tenant.share for tenant in shares])[:-1]
    drawn: IndexArray = np.searchsorted(edges, random.random(count), side="right").astype(np.int64)
    return drawn


def _traffic_phases(sources: Sequence[str], traffic: Sequence[Sequence[str]]) -> IndexArray:
    """Per request the phase that its source comes in; a source of no phase comes throughout."""
    count = len(sources)
    phases: IndexArray = np.arange(count, dtype=np.int64) * len(traffic) // max(1, count)
    for index, source in enumerate(sources):
        for phase, patterns in enumerate(traffic):
            if any(fnmatchcase(source, pattern) for pattern in patterns):
                phases[index] = phase
                break
    return phases


def _phases(traffic: IndexArray, changed: Sequence[int]) -> IndexArray:
    """A new phase begins with the traffic's and with every change within the stretch, changes at once together."""
    count = len(traffic)
    begins = np.zeros(count, dtype=np.int64)
    begins[1:] = traffic[1:] != traffic[:-1]
    begins[[number for number in changed if 0 < number < count]] = 1
    phases: IndexArray = np.cumsum(begins)
    return phases


def _money_usd(setting: Setting, tenants: IndexArray, windows: IndexArray) -> FloatArray:
    money_usd = np.full(len(tenants), setting.budget_usd)
    for index, tenant in enumerate(setting.scenario.tenants):
        reported = (tenants == index) & (windows != LEARNING)
        if tenant.limit_usd is not None:
            per_request_usd = tenant.limit_usd * setting.scenario.windows / max(1, int(reported.sum()))
        else:
            per_request_usd = tenant.budget_usd or setting.budget_usd
        money_usd[tenants == index] = per_request_usd
    for window, share in enumerate(setting.scenario.money_by_window):
        money_usd[windows == window] *= setting.scenario.windows * share
    return money_usd
