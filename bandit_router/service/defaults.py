"""Default rewards: what a pool assumes of answers about which no reward has come by its deadline.

An assumption is an outcome like any other: it is committed at the revision that was read, appears in the event log
once, whichever of the replicas was first and however it raced with a report, and is learned from there. A reward that
is reported later replaces it there, as a correction does.
"""

from __future__ import annotations

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.outcomes import assume_reward
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import DueDecision, Ledger
from bandit_router.service.feedback import make_commit
from bandit_router.service.pacing import Pacer
from bandit_router.service.schema_watch import SchemaWatch

ASSUME_BATCH = 500


class Defaults:
    """Assumes the rewards that are due; any number of replicas may do so at once."""

    def __init__(self, *, ledger: Ledger, pacer: Pacer, clock: Clock, schema: SchemaWatch) -> None:
        self._ledger = ledger
        self._schema = schema
        self._pacer = pacer
        self._clock = clock

    async def assume(self) -> int:
        """Look at no more than ASSUME_BATCH due decisions; how many rewards were assumed.

        Raises StoreUnavailable, StateUnreadable.
        """
        due = await self._ledger.defaults_due(self._clock.now_ms(), ASSUME_BATCH)
        assumed = 0
        for item in due:
            assumed += await self._assume(item)
        return assumed

    async def _assume(self, item: DueDecision) -> bool:
        self._schema.check()
        record = await self._ledger.read(item.tenant_id, item.decision_id)
        if record is None:
            await self._ledger.drop_default(item.tenant_id, item.decision_id, None)
            return False
        decision, before = decode_decision(record.decision), decode_outcome(record.outcome)
        default = decision.default_reward
        if default is None or not before.lacks_reward:
            await self._ledger.drop_default(item.tenant_id, item.decision_id, record.revision)
            return False
        self._schema.check()
        transition = assume_reward(before, default.reward)
        commit = make_commit(decision, record, before, transition, recorded_ms=self._clock.now_ms())
        budget = await self._ledger.commit(commit)
        if budget is not None:
            self._pacer.observe(item.tenant_id, budget)
        return budget is not None
