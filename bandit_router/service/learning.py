"""The learner of a pool: folds the event log into the pool's state and publishes snapshots. Exactly once.

One learner at a time holds the pool's lease; its fencing token goes with every snapshot, so one that has lost the
lease without noticing cannot write. The state is folded from the stored snapshot onwards, and the snapshot carries the
log positions it contains: whoever takes over continues exactly there. An event that cannot be folded becomes a dead
letter in the same step that moves the position past it, and leaves the dead letters in the step that folds it.

A store may come back without the last it had acknowledged (a power cut, a fail-over), tokens and all. So every step
begins with the snapshot that is stored now, saves in place of that one only, and only while the log still has what was
read: nothing is learned that the store has lost.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bandit_router.core.folding import Outdated, Unlearnable, coordinates_of, fold
from bandit_router.core.learners.registry import keep_for, parse_learner
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import PoolState
from bandit_router.core.resources import Pool
from bandit_router.ports.clock import Clock
from bandit_router.ports.events import EventEntry, EventLog
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.observer import Observer
from bandit_router.ports.snapshots import NO_SNAPSHOT, DeadLetter, LetterChange, Snapshot, SnapshotStore, Stamp
from bandit_router.service.directory import Directory
from bandit_router.service.models import Models, empty_state, in_coordinates_of
from bandit_router.service.retention import Retention, Trimmer
from bandit_router.service.schema_watch import SchemaWatch

LEASE_MS = 3_000
RENEW_MS = LEASE_MS // 3
"""A fold that takes longer renews the lease on the way: else a long backlog could never be learned in time."""

FOLD_BATCH = 250
"""Entries per partition and fold."""

ROUNDS = 8
"""Folds per pool and pass while there is a backlog; then the other pools have their turn."""

REDRIVE_BATCH = 200
REDRIVE_MS = 1_000
"""How often the learner looks for dead letters to try again."""

YIELD_EVERY = 32
"""Entries folded before the calls that wait on the event loop have a turn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A snapshot as this learner has written or read it, under its lease's token."""

    token: int
    stamp: Stamp
    state: PoolState


@dataclass(slots=True)
class _Fold:
    """A state under way, and the dead letters that change with it. `read`: where in the log its newest entries stand;
    `milestones`: counts by name and arm."""

    state: PoolState
    read: dict[int, str] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    folded: int = 0
    milestones: Counter[tuple[str, str]] = field(default_factory=Counter)


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
        clock: Clock,
        observer: Observer,
        retention: Retention,
        schema: SchemaWatch,
    ) -> None:
        self._schema = schema
        self._owner = owner
        self._directory = directory
        self._models = models
        self._events = events
        self._snapshots = snapshots
        self._clock = clock
        self._observer = observer
        self._trimmer = Trimmer(events, clock, observer, retention)
        self._states: dict[str, _Stored] = {}
        self._saves = itertools.count(1)
        self._looked_ms: dict[str, int] = {}

    async def step(self, pool_id: str) -> int:
        """Fold what is new and publish it; how many entries were read. Raises StoreUnavailable."""
        pool = await self._directory.pool(pool_id)
        if pool.learning_frozen:
            return 0
        token = await self._snapshots.acquire(pool_id, self._owner, LEASE_MS)
        if token is None:
            self._forget(pool_id)
            return 0
        stored = await self._state(pool, token)
        state = stored.state
        entries = await self._events.read(pool_id, state.positions, FOLD_BATCH)
        letters = await self._redriven(pool_id)
        self._tell_lag(pool_id, entries)
        if entries or letters:
            state = await self._in_newest_coordinates(pool, state, entries)
            state = state.copy()
            keep_for(parse_learner(pool.learner), state)
            found = await self._fold(pool_id, state, entries, letters)
            if not await self._publish(pool_id, stored, found):
                return 0
            state = found.state
        await self._trimmer.trim(pool_id, state.positions)
        return len(entries)

    async def step_all(self) -> int:
        """`step` for every pool known, one that fails not keeping the others from learning; what was learned for
        deleted ones is forgotten. Raises StoreUnavailable."""
        for pool_id in self._states.keys() - set(self._directory.pool_ids()):
            self._forget(pool_id)
        return sum([await self._catch_up(pool_id) for pool_id in self._directory.pool_ids()])

    async def release(self) -> None:
        """Give up all leases, so that another replica takes over at once."""
        for pool_id in tuple(self._states):
            await self._snapshots.release(pool_id, self._owner)
        self._states.clear()

    async def _catch_up(self, pool_id: str) -> int:
        """Steps until the log's end is near."""
        read = 0
        try:
            for _ in range(ROUNDS):
                read += (count := await self.step(pool_id))
                if count < FOLD_BATCH:  # no partition's page was full
                    break
        except StoreUnavailable:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with one pool, the others go on learning
            self._observer.count("learning_failures", pool=pool_id)
            self._observer.note("pool_not_learned", pool_id=pool_id, error=f"{type(fault).__name__}: {fault}")
        return read

    async def _state(self, pool: Pool, token: int) -> _Stored:
        """The state to fold into: ours while the lease has not changed hands and it is what is stored, else that."""
        known = self._states.get(pool.pool_id)
        if known is None or (known.token, known.stamp) != (token, await self._snapshots.stamp(pool.pool_id)):
            snapshot = await self._snapshots.load(pool.pool_id)
            stamp = NO_SNAPSHOT if snapshot is None else snapshot.stamp
            state = empty_state(pool) if snapshot is None else decode_pool_state(snapshot.state)
            if known is not None and known.token == token:
                versions = {"known_version": known.stamp.version, "stored_version": stamp.version}
                self._observer.note("another_state_stored", pool_id=pool.pool_id, **versions)
            if known is None or known.stamp != stamp:
                self._trimmer.forget(pool.pool_id)  # what it has seen stored may be more than there is now
            self._states[pool.pool_id] = known = _Stored(token, stamp, state)
        return known

    async def _in_newest_coordinates(self, pool: Pool, state: PoolState, entries: Sequence[EventEntry]) -> PoolState:
        """The state in the pool's coordinates. Other replicas may have seen a new projection before this one, and have
        decided or even learned in it: then the directory is behind, and is refreshed first."""
        newest = max(state.projection_version, *(coordinates_of(entry.decision) for entry in entries), 0)
        known = self._directory.projection(pool.pool_id)
        if newest > (0 if known is None else known.version):
            await self._directory.refresh()
        return in_coordinates_of(pool, self._directory.projection(pool.pool_id), state)

    async def _redriven(self, pool_id: str) -> Sequence[DeadLetter]:
        """Dead letters to try again; asked for now and then."""
        now_ms = self._clock.now_ms()
        if now_ms - self._looked_ms.get(pool_id, -REDRIVE_MS) < REDRIVE_MS:
            return ()
        letters = await self._snapshots.redriven(pool_id, REDRIVE_BATCH)
        if len(letters) < REDRIVE_BATCH:
            self._looked_ms[pool_id] = now_ms
        return letters

    async def _fold(
        self, pool_id: str, state: PoolState, entries: Sequence[EventEntry], letters: Sequence[DeadLetter]
    ) -> _Fold:
        found, renewed_ms = _Fold(state), self._clock.now_ms()
        for letter in letters:
            found.tried.append(letter.letter_id)
            self._fold_one(pool_id, found, letter.entry, tries=letter.tries + 1)
        for number, entry in enumerate(entries, 1):
            self._fold_one(pool_id, found, entry, tries=1)
            state.positions[entry.partition] = found.read[entry.partition] = entry.entry_id
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
                if self._clock.now_ms() - renewed_ms >= RENEW_MS:
                    await self._snapshots.acquire(pool_id, self._owner, LEASE_MS)
                    renewed_ms = self._clock.now_ms()
        state.version += 1
        return found

    def _fold_one(self, pool_id: str, found: _Fold, entry: EventEntry, *, tries: int) -> None:
        try:
            told = fold(found.state, entry.decision, entry.before, entry.after)
            found.folded += 1
            found.milestones.update((name, told.arm_id) for name in told.milestones)
        except Outdated as refusal:
            self._observer.count("events_not_learnable", pool=pool_id)
            self._observer.note("event_not_learnable", pool_id=pool_id, entry_id=entry.entry_id, why=str(refusal))
        except Unlearnable as refusal:
            found.dead.append(DeadLetter("", entry, str(refusal), self._clock.now_ms(), tries))

    async def _publish(self, pool_id: str, stored: _Stored, found: _Fold) -> bool:
        """Store the state and serve it; False if another learner took over, or the store has lost what was read.

        Raises StateUnreadable.
        """
        self._schema.check()
        mark = f"{self._owner}-{next(self._saves)}"
        snapshot = Snapshot(version=found.state.version, state=encode_pool_state(found.state), mark=mark)
        letters = LetterChange(tuple(found.dead), tuple(found.tried))
        has_read = await self._events.has(pool_id, found.read)
        if not has_read or not await self._snapshots.save(
            pool_id, stored.token, snapshot, after=stored.stamp, letters=letters
        ):
            self._forget(pool_id)
            self._observer.note("learner_fenced_off" if has_read else "events_vanished", pool_id=pool_id)
            return False
        self._states[pool_id] = _Stored(stored.token, snapshot.stamp, found.state)
        self._models.adopt(pool_id, found.state, snapshot.stamp)
        self._observer.count("events_folded", found.folded, pool=pool_id)
        for (name, arm_id), count in found.milestones.items():
            self._observer.count(name, count, pool=pool_id, arm=arm_id)
        if found.dead:
            self._observer.count("events_dead", len(found.dead), pool=pool_id)
            self._observer.note("events_dead", pool_id=pool_id, count=len(found.dead), why=found.dead[0].reason)
        return True

    def _tell_lag(self, pool_id: str, entries: Sequence[EventEntry]) -> None:
        """What was not yet learned when this step began: how many entries (as far as was read), how old the oldest."""
        oldest_ms = min((entry.recorded_ms for entry in entries), default=self._clock.now_ms())
        self._observer.level("learner_lag_events", len(entries), pool=pool_id)
        self._observer.level("learner_lag_seconds", max(0, self._clock.now_ms() - oldest_ms) / 1000, pool=pool_id)

    def _forget(self, pool_id: str) -> None:
        """Another replica learns for this pool, or there is no such pool any more."""
        if self._states.pop(pool_id, None) is not None:
            self._trimmer.forget(pool_id)
            self._looked_ms.pop(pool_id, None)
            self._tell_lag(pool_id, ())
