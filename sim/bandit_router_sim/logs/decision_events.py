"""The service's event log, exported, as a decision log: one row per decision, joined with what became of it.

Each event holds the whole decision and its outcome as it stands after one change, so the last event of a decision is
its row; the events before it only tell whether its cost is a bill or an expired hold. Last is the latest
`recorded_at`; the file's order decides between equals, or where one of them has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router.core.money import NUSD_PER_USD
from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.logs.errors import BadRow, UnusableLog
from bandit_router_sim.logs.event_fields import BadField, flag, integer, items, number, text, time_ms
from bandit_router_sim.logs.findings import Findings, PathLike, SkippedRows
from bandit_router_sim.logs.tables import Table, read_table

FIELDS = (
    "changes",
    "decision_id",
    "tenant_id",
    "arm_id",
    "propensity",
    "context",
    "arms",
    "price_per_usd",
    "decided_at",
    "recorded_at",
    "reward",
    "reward_defaulted",
    "cost_nusd",
)
SUM_TOLERANCE = 1e-6
MAX_FLOAT = 3.5e38
BILLED = "EVENT_CHANGE_BILLED"
CANCELLED = "EVENT_CHANGE_CANCELLED"
EXPIRED = "EVENT_CHANGE_EXPIRED"
RETRACTED = "EVENT_CHANGE_RETRACTED"
DEFAULTED = "EVENT_CHANGE_DEFAULTED"
UNREPORTED = {EXPIRED, DEFAULTED}
"""Changes that nobody has reported."""

HAS_PROPENSITIES = "holds the propensity of every arm that could have been chosen"
SUM_TO_ONE = "propensities are in [0, 1] and sum to 1"
ARM_IS_FEASIBLE = "the chosen arm is among `arms`, with the propensity of the decision"
EXCLUDED_HAS_NONE = "an excluded arm has propensity 0, and no arm is listed twice"
IS_CONTEXT = "a context is a list of finite numbers, as many in every decision"
IS_REWARD = "a reward is absent or in [0, 1]"
IS_COST = "a cost is absent or a whole number of nano-USD, at least 0"
IS_PRICE = "a price is finite and at least 0"


@dataclass(frozen=True, slots=True)
class _Arm:
    propensity: float
    expected_reward: float
    expected_cost_usd: float


@dataclass(frozen=True, slots=True)
class _Event:
    """A checked event; `row` is its place in the file, from 1."""

    row: int
    changes: tuple[str, ...]
    decision_id: str
    tenant_id: str
    arm_id: str
    context: tuple[float, ...]
    arms: Mapping[str, _Arm]
    price_per_usd: float
    decided_ms: int | None
    recorded_ms: int | None
    reward: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class _Joined:
    """A decision: its last event, whether its cost is a bill, and when its last outcome came (-1: none did)."""

    last: _Event
    billed: bool
    observed_ms: int


def read_decision_log(
    path: PathLike, *, skip_bad: bool = False, name: str | None = None
) -> tuple[DecisionLog, SkippedRows]:
    """The decisions in a JSONL, JSON or parquet export of events, in the order in which they were made.

    A cost is one that was billed: NaN where the hold still stands or expired. A reward that was retracted is NaN, and
    so is one that was not observed but assumed, as the pool's default.
    Feasible are the arms with a propensity above 0. Events have no session: every label is ''.
    The first bad event raises BadRow; with `skip_bad` such events are left out and counted. UnusableLog is raised
    where no event has propensities: without them nothing can be said of another policy.
    """
    bad_rows: list[BadRow] = []
    findings = Findings(path)
    table = read_table(path, findings, wants=lambda column: column in FIELDS)
    _require_propensities(table)
    events = _events_of(table, findings)
    _require_one_width(events, findings)
    kept = set(findings.settle(table.length, on_bad=bad_rows.append if skip_bad else None).tolist())
    joined = _join([event for event in events if event.row - 1 in kept])
    return _log_of(joined, name=name or Path(path).stem), SkippedRows.of(bad_rows)


def _require_propensities(table: Table) -> None:
    """Refuse the log if it tells the propensities of no decision at all."""
    cells = [cell for cell in table.objects("arms") if isinstance(cell, list)]
    if not any(isinstance(arm, dict) and arm.get("propensity") for cell in cells for arm in cell):
        raise UnusableLog(
            table.file,
            "no event has the propensities of its arms (arms[].propensity), without which outcomes cannot be weighed "
            "for another policy. Export the service's own events: they hold them",
        )


def _events_of(table: Table, findings: Findings) -> list[_Event]:
    columns = [table.objects(field) for field in FIELDS]
    events = []
    for row, values in enumerate(zip(*columns, strict=True), start=1):
        if findings.is_bad(row):
            continue
        try:
            events.append(_event(row, dict(zip(FIELDS, values, strict=True))))
        except BadField as bad:
            findings.add(row, bad.field, bad.rule)
    return events


def _event(row: int, fields: dict[str, Any]) -> _Event:
    """The event; raises BadField."""
    if not text(fields, "decision_id"):
        raise BadField("decision_id", "is text and not empty")
    arms = _arms(fields)
    changes = tuple(str(change) for change in items(fields, "changes"))
    is_observed = RETRACTED not in changes and not flag(fields, "reward_defaulted")
    reward = number(fields, "reward") if is_observed else None
    if reward is not None and not 0.0 <= reward <= 1.0:
        raise BadField("reward", IS_REWARD)
    cost_nusd = integer(fields, "cost_nusd")
    if cost_nusd is not None and cost_nusd < 0:
        raise BadField("cost_nusd", IS_COST)
    price = number(fields, "price_per_usd") or 0.0
    if not (math.isfinite(price) and price >= 0.0):
        raise BadField("price_per_usd", IS_PRICE)
    return _Event(
        row=row,
        changes=changes,
        decision_id=text(fields, "decision_id"),
        tenant_id=text(fields, "tenant_id"),
        arm_id=text(fields, "arm_id"),
        context=_context(fields),
        arms=arms,
        price_per_usd=price,
        decided_ms=time_ms(fields, "decided_at"),
        recorded_ms=time_ms(fields, "recorded_at"),
        reward=np.nan if reward is None else reward,
        cost_usd=np.nan if cost_nusd is None else cost_nusd / NUSD_PER_USD,
    )


def _arms(fields: dict[str, Any]) -> dict[str, _Arm]:
    """The arms by id, their propensities checked against each other and against the decision's."""
    cells = items(fields, "arms")
    if not cells:
        raise BadField("arms", HAS_PROPENSITIES)
    arms: dict[str, _Arm] = {}
    for cell in cells:
        arm_id = text(cell, "arm_id") if isinstance(cell, dict) else ""
        if not arm_id:
            raise BadField("arms", "is a list of objects with an arm_id")
        arm = _arm(cell)
        if arm_id in arms or (arm.propensity > 0.0 and text(cell, "excluded_because")):
            raise BadField("arms", EXCLUDED_HAS_NONE)
        arms[arm_id] = arm
    propensities = [arm.propensity for arm in arms.values()]
    if not all(0.0 <= p <= 1.0 for p in propensities) or abs(sum(propensities) - 1.0) > SUM_TOLERANCE:
        raise BadField("arms", SUM_TO_ONE)
    chosen = arms.get(text(fields, "arm_id"), _Arm(0.0, np.nan, np.nan)).propensity
    stated = number(fields, "propensity")
    if not chosen > 0.0 or (stated is not None and abs(stated - chosen) > SUM_TOLERANCE):
        raise BadField("arm_id", ARM_IS_FEASIBLE)
    return arms


def _arm(cell: dict[str, Any]) -> _Arm:
    """The arm; what is left out is 0, except that an arm excluded without expectations has none."""
    reward, cost_nusd = number(cell, "expected_reward"), integer(cell, "expected_cost_nusd")
    unknown = np.nan if text(cell, "excluded_because") and reward is None and cost_nusd is None else 0.0
    return _Arm(
        propensity=number(cell, "propensity") or 0.0,
        expected_reward=unknown if reward is None else reward,
        expected_cost_usd=(unknown if cost_nusd is None else cost_nusd) / NUSD_PER_USD,
    )


def _context(fields: dict[str, Any]) -> tuple[float, ...]:
    values = items(fields, "context")
    if not all(isinstance(value, int | float) and abs(value) <= MAX_FLOAT for value in values):
        raise BadField("context", IS_CONTEXT)
    return tuple(map(float, values))


def _require_one_width(events: Sequence[_Event], findings: Findings) -> None:
    """Note the events whose context is not as wide as the first one's."""
    for event in events:
        if len(event.context) != len(events[0].context):
            findings.add(event.row, "context", IS_CONTEXT, f"{len(event.context)} values")


def _join(events: Sequence[_Event]) -> list[_Joined]:
    """The decisions in order of their times, then of first appearance."""
    by_decision: dict[str, list[_Event]] = {}
    for event in events:
        by_decision.setdefault(event.decision_id, []).append(event)
    joined = [_joined(history) for history in by_decision.values()]
    return sorted(joined, key=lambda decision: -1 if decision.last.decided_ms is None else decision.last.decided_ms)


def _joined(history: list[_Event]) -> _Joined:
    times = [event.recorded_ms for event in history]
    if None not in times:
        history = sorted(history, key=lambda event: event.recorded_ms or 0)
    billed = True
    observed_ms = -1
    for event in history:
        if EXPIRED in event.changes:
            billed = False
        if BILLED in event.changes or CANCELLED in event.changes:
            billed = True
        is_unreported = bool(event.changes) and UNREPORTED.issuperset(event.changes)
        if not is_unreported and event.recorded_ms is not None:
            observed_ms = event.recorded_ms
    return _Joined(last=history[-1], billed=billed, observed_ms=observed_ms)


def _log_of(decisions: Sequence[_Joined], *, name: str) -> DecisionLog:
    rows = [decision.last for decision in decisions]
    arm_ids = tuple(dict.fromkeys(arm_id for row in rows for arm_id in row.arms))
    places = {arm_id: k for k, arm_id in enumerate(arm_ids)}
    table = np.full((3, len(rows), len(arm_ids)), np.nan)
    table[0] = 0.0
    for i, row in enumerate(rows):
        for arm_id, arm in row.arms.items():
            table[:, i, places[arm_id]] = (arm.propensity, arm.expected_reward, arm.expected_cost_usd)
    width = len(rows[0].context) if rows else 0
    return DecisionLog(
        name=name,
        arm_ids=arm_ids,
        decision_ids=tuple(row.decision_id for row in rows),
        tenant_ids=tuple(row.tenant_id for row in rows),
        contexts=np.asarray([row.context for row in rows], dtype=np.float64).reshape(len(rows), width),
        feasible=table[0] > 0.0,
        propensities=table[0],
        actions=np.asarray([places[row.arm_id] for row in rows], dtype=np.int64),
        rewards=np.asarray([row.reward for row in rows], dtype=np.float64),
        costs_usd=np.asarray([d.last.cost_usd if d.billed else np.nan for d in decisions], dtype=np.float64),
        expected_rewards=table[1],
        expected_costs_usd=table[2],
        prices_per_usd=np.asarray([row.price_per_usd for row in rows], dtype=np.float64),
        decided_ms=np.asarray([-1 if row.decided_ms is None else row.decided_ms for row in rows], dtype=np.int64),
        observed_ms=np.asarray([decision.observed_ms for decision in decisions], dtype=np.int64),
        sessions=("",) * len(rows),
    )
