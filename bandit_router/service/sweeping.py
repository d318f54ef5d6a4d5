"""The sweeper: ends holds whose usage has not come by the deadline. Nothing else ever frees a hold."""

from __future__ import annotations

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.outcomes import expire
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import DueDecision, Ledger
from bandit_router.ports.observer import Observer
from bandit_router.service.feedback import make_commit
from bandit_router.service.pacing import Pacer
from bandit_router.service.schema_watch import SchemaWatch

SWEEP_BATCH = 500


class Sweeper:
    """Expires due decisions; any number of replicas may sweep at once."""

    def __init__(self, *, ledger: Ledger, pacer: Pacer, clock: Clock, schema: SchemaWatch, observer: Observer) -> None:
        self._ledger = ledger
        self._schema = schema
        self._pacer = pacer
        self._clock = clock
        self._observer = observer

    async def sweep(self) -> int:
        """Expire at most SWEEP_BATCH due decisions; how many this call expired.

        Raises StoreUnavailable, StateUnreadable.
        """
        due = await self._ledger.due(self._clock.now_ms(), SWEEP_BATCH)
        expired = 0
        for item in due:
            expired += await self._expire(item)
        if expired:
            self._observer.count("decisions_expired", expired)
        return expired

    async def _expire(self, item: DueDecision) -> bool:
        record = await self._ledger.read(item.tenant_id, item.decision_id)
        if record is None:
            return False
        decision, before = decode_decision(record.decision), decode_outcome(record.outcome)
        transition = expire(before)
        if not transition.changed:
            return False
        self._schema.check()
        commit = make_commit(decision, record, before, transition, recorded_ms=self._clock.now_ms())
        budget = await self._ledger.commit(commit)
        if budget is not None:
            self._pacer.observe(item.tenant_id, budget)
        return budget is not None
