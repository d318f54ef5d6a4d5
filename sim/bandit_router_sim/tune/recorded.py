"""What a replayed replica has recorded: its decisions with exact propensities and outcomes, from its own event log."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.decision import Decision
from bandit_router.core.money import nusd_to_usd
from bandit_router.core.outcomes import Outcome
from bandit_router.ports.events import EventEntry
from bandit_router.service.assembly import Services
from bandit_router.service.retention import Retention
from bandit_router.service.route import exact_propensities
from bandit_router_sim.logs.decisions import DecisionLog, FloatArray

_EVERYTHING = 1 << 40
KEEP_ALL = Retention(keep_s=3650 * 86_400.0, keep_newest=_EVERYTHING)
"""For a replica whose decisions are to be read after a replay."""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision, the probability of every arm that could have been chosen, and its outcome as it stands."""

    decision: Decision
    propensities: dict[str, float]
    outcome: Outcome
    recorded_ms: int


async def recorded_decisions(services: Services, pool_id: str) -> list[RecordedDecision]:
    """Every decision of the pool of which a bill or a reward was reported, in the order in which they were made."""
    last: dict[bytes, EventEntry] = {}
    for entry in await services.store.events.read(pool_id, {}, _EVERYTHING):
        last[entry.decision] = entry
    found = [_recorded(entry) for entry in last.values()]
    return sorted(found, key=lambda record: (record.decision.decided_ms, record.decision.decision_id))


def chances_of(records: list[RecordedDecision], arm_ids: tuple[str, ...], requests: int) -> FloatArray:
    """Probabilities (requests, K) by the number of the request, which is its id; rows of 0 where there is no record."""
    chances = np.zeros((requests, len(arm_ids)))
    for record in records:
        chances[int(record.decision.request_id)] = [record.propensities.get(arm_id, 0.0) for arm_id in arm_ids]
    return chances


def decision_log_of(records: list[RecordedDecision], arm_ids: tuple[str, ...], *, name: str) -> DecisionLog:
    """The same decisions as off-policy evaluation reads them."""
    decisions = [record.decision for record in records]
    propensities = np.array([[record.propensities.get(arm_id, 0.0) for arm_id in arm_ids] for record in records])
    quotes = [{quote.arm_id: quote for quote in decision.quotes} for decision in decisions]
    return DecisionLog(
        name=name,
        arm_ids=arm_ids,
        decision_ids=tuple(decision.decision_id for decision in decisions),
        tenant_ids=tuple(decision.tenant_id for decision in decisions),
        contexts=np.array([decision.context for decision in decisions], dtype=np.float64),
        feasible=propensities > 0.0,
        propensities=propensities,
        actions=np.array([arm_ids.index(decision.arm_id) for decision in decisions], dtype=np.int64),
        rewards=np.array([_reward(record) for record in records]),
        costs_usd=np.array([_cost_usd(record) for record in records]),
        expected_rewards=np.array([[row[arm].expected_reward for arm in arm_ids] for row in quotes]),
        expected_costs_usd=np.array([[nusd_to_usd(row[arm].expected_cost_nusd) for arm in arm_ids] for row in quotes]),
        prices_per_usd=np.array([decision.price_per_usd for decision in decisions]),
        decided_ms=np.array([decision.decided_ms for decision in decisions], dtype=np.int64),
        observed_ms=np.array([record.recorded_ms for record in records], dtype=np.int64),
        sessions=("",) * len(records),
    )


def _recorded(entry: EventEntry) -> RecordedDecision:
    decision = decode_decision(entry.decision)
    propensities = exact_propensities(decision, free_nusd=entry.free_nusd)
    return RecordedDecision(decision, propensities, decode_outcome(entry.after), entry.recorded_ms)


def _reward(record: RecordedDecision) -> float:
    return np.nan if record.outcome.reward is None else record.outcome.reward


def _cost_usd(record: RecordedDecision) -> float:
    return np.nan if record.outcome.bill is None else nusd_to_usd(record.outcome.bill.cost_nusd)
