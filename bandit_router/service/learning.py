"""The learner of a pool: folds the event log into the pool's state and publishes snapshots. Exactly once.

One learner at a time holds the pool's lease; its fencing token goes with every snapshot, so one that has lost the
lease without noticing cannot write. The state is folded from the stored snapshot onwards, and the snapshot carries the
log positions it contains: whoever takes over continues exactly there.
"""

from __future__ import annotations

from collections.abc import Sequence

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.learners.registry import parse_learner, remembered_by
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import MismatchedContext, PoolState, learn
from bandit_router.core.resources import Pool
from bandit_router.ports.events import EventEntry, EventLog
from bandit_router.ports.observer import Observer
from bandit_router.ports.snapshots import Snapshot, SnapshotStore
from bandit_router.service.directory import Directory
from bandit_router.service.models import Models, empty_state, in_coordinates_of

LEASE_MS = 3_000
FOLD_BATCH = 1_000
"""Entries per partition and fold."""


class Learner:
    """Learns for every pool whose lease this replica gets."""

    def __init__(
        self,
        *,
        owner: str,
        directory: Directory,
        models: Models,
        events: EventLog,
        snapshots: SnapshotStore,
        observer: Observer,
    ) -> None:
        self._owner = owner
        self._directory = directory
        self._models = models
        self._events = events
        self._snapshots = snapshots
        self._observer = observer
        self._states: dict[str, tuple[int, PoolState]] = {}

    async def step(self, pool_id: str) -> int:
        """Fold what is new and publish it; how many entries were folded. Raises StoreUnavailable."""
        pool = await self._directory.pool(pool_id)
        if pool.learning_frozen:
            return 0
        token = await self._snapshots.acquire(pool_id, self._owner, LEASE_MS)
        if token is None:
            self._states.pop(pool_id, None)
            return 0
        state = await self._state(pool, token)
        entries = await self._events.read(pool_id, state.positions, FOLD_BATCH)
        if not entries:
            return 0
        folded = state.copy()
        folded.examples.resize(remembered_by(parse_learner(pool.learner)))
        folded = self._fold(pool_id, folded, entries)
        snapshot = Snapshot(version=folded.version, state=encode_pool_state(folded))
        if not await self._snapshots.save(pool_id, token, snapshot):
            self._states.pop(pool_id, None)
            self._observer.note("learner_fenced_off", pool_id=pool_id)
            return 0
        self._states[pool_id] = token, folded
        self._models.adopt(pool_id, folded)
        self._observer.count("events_folded", len(entries), pool=pool_id)
        return len(entries)

    async def step_all(self) -> int:
        """`step` for every pool known; what was learned for deleted ones is forgotten."""
        for pool_id in self._states.keys() - set(self._directory.pool_ids()):
            del self._states[pool_id]
        return sum([await self.step(pool_id) for pool_id in self._directory.pool_ids()])

    async def release(self) -> None:
        """Give up all leases, so that another replica takes over at once."""
        for pool_id in tuple(self._states):
            await self._snapshots.release(pool_id, self._owner)
        self._states.clear()

    async def _state(self, pool: Pool, token: int) -> PoolState:
        """The state to fold into: ours while the lease has not changed hands, else the stored one."""
        known = self._states.get(pool.pool_id)
        if known is None or known[0] != token:
            snapshot = await self._snapshots.load(pool.pool_id, -1)
            state = empty_state(pool) if snapshot is None else decode_pool_state(snapshot.state)
            known = token, state
        state = in_coordinates_of(pool, self._directory.projection(pool.pool_id), known[1])
        self._states[pool.pool_id] = token, state
        return state

    def _fold(self, pool_id: str, state: PoolState, entries: Sequence[EventEntry]) -> PoolState:
        for entry in entries:
            decision = decode_decision(entry.decision)
            try:
                learn(state, decision, decode_outcome(entry.before), decode_outcome(entry.after))
            except MismatchedContext as mismatch:
                self._observer.count("events_not_learnable", pool=pool_id)
                self._observer.note("event_not_learnable", decision_id=decision.decision_id, why=str(mismatch))
            state.positions[entry.partition] = entry.entry_id
        state.version += 1
        return state
