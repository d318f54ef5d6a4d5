"""The replica's models: per pool the posteriors made from the newest snapshot and the arms as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.bills import BillSums
from bandit_router.core.budget_policies.protocol import Holds, LinearCharge, Weigh
from bandit_router.core.choice import Query, quote_arms
from bandit_router.core.context import context_dimension
from bandit_router.core.decision import Baseline
from bandit_router.core.errors import StateUnreadable
from bandit_router.core.explorations.normals import batch_normals
from bandit_router.core.explorations.registry import Exploration, parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import NO_PRIORS, PoolModel, build_model
from bandit_router.core.money import nusd_to_usd
from bandit_router.core.onboarding import lifted
from bandit_router.core.pool_codec import CorruptState, StateTooNew, decode_pool_state
from bandit_router.core.pool_prior import priors_for
from bandit_router.core.pool_state import PoolState
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm, HoldPolicy, Pool, Tenant
from bandit_router.core.tenancy import seen_by, served_as
from bandit_router.ports.observer import Observer
from bandit_router.ports.snapshots import NO_SNAPSHOT, SnapshotStore, Stamp
from bandit_router.service.directory import Directory


def empty_state(pool: Pool) -> PoolState:
    """The state of a pool that has learned nothing."""
    return PoolState(dimension=_dimension(pool), generation=pool.generation)


def _dimension(pool: Pool) -> int:
    return context_dimension(pool.dimension, len(pool.features))


def in_coordinates_of(pool: Pool, projection: Projection | None, state: PoolState) -> PoolState:
    """The state, or an empty one at its place in the log if it was learned in other coordinates than the pool's now.

    What was learned through another projection, or by a pool of another shape, means nothing in these; what was spent
    does. What another pool has learned that had this one's id before means nothing at all.
    """
    version = 0 if projection is None else projection.version
    fresh = empty_state(pool)
    state.generation = state.generation or fresh.generation  # the first schema had none
    place = (state.projection_version, state.dimension, state.generation)
    if place == (version, fresh.dimension, fresh.generation):
        return state
    fresh.projection_version = version
    fresh.positions, fresh.version, fresh.events = state.positions, state.version, state.events
    if state.generation == fresh.generation:
        fresh.bills = {arm_id: BillSums(spent_nusd=sums.spent_nusd) for arm_id, sums in state.bills.items()}
    return fresh


@dataclass(frozen=True, slots=True, eq=False)
class ServedPool:
    """A pool ready to answer: its settings, and its arms with the model of them.

    `baseline`: what its baseline arm answers, if it has one and a share for it.
    """

    pool: Pool
    table: ArmTable
    exploration: Exploration
    revision: int
    baseline: Baseline | None = None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, in the model's order."""
        return self.table.arms

    @property
    def model(self) -> PoolModel:
        """What is predicted of the arms."""
        return self.table.model

    @property
    def has_live_arms(self) -> bool:
        """Whether any arm may be chosen at all."""
        return bool(self.table.live)

    def weigher(self, among: Sequence[int] | None = None) -> Weigh:
        """Choice probabilities of many queries at once, (n, arms), of the scores and deviations of live arms.

        For one series of calls about the same queries at different prices of money. `among`: positions of some of the
        live arms in `table.live`; the others are not there.
        """
        live, layer = self.table.live, self.exploration.near()
        arms = list(live) if among is None else [live[position] for position in among]

        def weigh(scores: FloatArray, deviations: FloatArray) -> FloatArray:
            if self.model.fitted.shares is not None:
                scores = np.tile(self.model.fitted.shares[arms], (len(scores), 1))
            elif self.table.has_new:
                scores = lifted(scores, self.table.new[arms])
            weights = layer(scores, deviations, batch_normals(*scores.shape))
            if self.baseline is not None and self.baseline.position in arms:
                weights = (1.0 - self.baseline.share) * weights
                weights[:, arms.index(self.baseline.position)] += self.baseline.share
            return weights

        return weigh

    def worst_holds(self, query: Query) -> Holds:
        """What must be free for calls of the live arms about queries like this one, in the worst case."""
        quotes = quote_arms(self.table, query, charge=LinearCharge(0.0), hold_policy=HoldPolicy.WORST_CASE)
        return Holds(np.array([nusd_to_usd(quotes.holds_nusd[arm]) for arm in self.table.live]), self.weigher)

    @property
    def policy_prefix(self) -> str:
        """Learner and exploration as configured: the first part of a decision's policy id."""
        return f"{self.pool.learner}/{self.pool.exploration}"


@dataclass(frozen=True, slots=True, eq=False)
class _Serving:
    """A pool's state in the pool's coordinates, and what is made of it: for all alike, and for tenants told apart."""

    state: PoolState
    whole: ServedPool
    by_tenant: dict[str, ServedPool]


class Models:
    """Served pools by id; rebuilt when a newer snapshot or a change of the catalog asks for it."""

    def __init__(self, directory: Directory, snapshots: SnapshotStore, observer: Observer) -> None:
        self._directory = directory
        self._snapshots = snapshots
        self._observer = observer
        self._states: dict[str, PoolState] = {}
        self._stamps: dict[str, Stamp] = {}
        self._serving: dict[str, _Serving] = {}

    async def served(self, pool_id: str) -> ServedPool:
        """The pool as it is served now. Raises ResourceNotFound, StateUnreadable."""
        return (await self._current(pool_id)).whole

    async def served_to(self, tenant: Tenant) -> ServedPool:
        """The pool as it is served to one tenant, which learns more from itself than from others (`core.tenancy`).

        Raises ResourceNotFound, StateUnreadable.
        """
        serving = await self._current(tenant.pool_id)
        name, known, whole = served_as(serving.state, tenant.tenant_id), serving.by_tenant, serving.whole
        if name not in known:
            seen = seen_by(serving.state, tenant.tenant_id, parse_learner(whole.pool.learner).tenancy)
            known[name] = whole if seen is serving.state else self._build(whole.pool, seen, whole.revision)
        return known[name]

    async def refresh(self, pool_id: str) -> bool:
        """Take over the stored snapshot if it is another; True if it was. Raises StateUnreadable.

        It may be an older one, or none any more: the store is right, also where it has lost what this replica had seen.
        Where another state is adopted meanwhile, that one is kept.
        """
        known = self._stamps.get(pool_id, NO_SNAPSHOT)
        if await self._snapshots.stamp(pool_id) == known:
            return False
        snapshot = await self._snapshots.load(pool_id)
        if self._stamps.get(pool_id, NO_SNAPSHOT) != known:
            return False
        if snapshot is None:
            self.forget(pool_id)
            return True
        try:
            self.adopt(pool_id, decode_pool_state(snapshot.state), snapshot.stamp)
        except (CorruptState, StateTooNew) as fault:
            raise StateUnreadable(pool_id, str(fault)) from fault
        return True

    async def refresh_all(self) -> None:
        """`refresh` for every pool that this replica has served; those deleted since are forgotten.

        A pool whose newest state cannot be read here is served from the one before it.
        """
        for pool_id in tuple(self._states):
            if pool_id not in self._directory.pool_ids():
                self.forget(pool_id)
                continue
            try:
                await self.refresh(pool_id)
            except StateUnreadable as fault:
                self._observer.count("states_unreadable", pool=pool_id)
                self._observer.note("state_unreadable", pool_id=pool_id, why=fault.message)

    def adopt(self, pool_id: str, state: PoolState, stamp: Stamp) -> None:
        """Serve from `state`, which the caller no longer changes; `stamp` is that of its snapshot."""
        self._states[pool_id], self._stamps[pool_id] = state, stamp
        self._serving.pop(pool_id, None)
        self._observer.level("snapshot_version", state.version, pool=pool_id)

    def forget(self, pool_id: str) -> None:
        """Drop what is known of a pool that was deleted, or whose learned state is gone."""
        self._states.pop(pool_id, None)
        self._stamps.pop(pool_id, None)
        self._serving.pop(pool_id, None)

    def version(self, pool_id: str) -> int:
        """Version of the snapshot that the pool is served from."""
        state = self._states.get(pool_id)
        return 0 if state is None else state.version

    async def _current(self, pool_id: str) -> _Serving:
        pool = await self._directory.pool(pool_id)
        if not self._knows(pool):
            self.forget(pool_id)
            await self.refresh(pool_id)
            if not self._knows(pool):
                self._states[pool_id] = empty_state(pool)
        revision = self._directory.revision(pool_id)
        serving = self._serving.get(pool_id)
        if serving is None or serving.whole.revision != revision:
            state = in_coordinates_of(pool, self._directory.projection(pool_id), self._states[pool_id])
            serving = self._serving[pool_id] = _Serving(state, self._build(pool, state, revision), {})
        return serving

    def _knows(self, pool: Pool) -> bool:
        """Whether there is a state for this pool, and not for another one of the same name before it."""
        state = self._states.get(pool.pool_id)
        return state is not None and state.dimension == _dimension(pool) and state.generation in (0, pool.generation)

    def _build(self, pool: Pool, state: PoolState, revision: int) -> ServedPool:
        arms, prior = self._directory.arms(pool.pool_id), self._directory.prior(pool.pool_id)
        priors = NO_PRIORS if prior is None else priors_for(prior, arms)
        model = build_model(state, [arm.arm_id for arm in arms], parse_learner(pool.learner), priors)
        return ServedPool(
            pool=pool,
            table=ArmTable.of(model, arms),
            exploration=model.exploration(parse_exploration(pool.exploration)),
            revision=revision,
            baseline=_baseline_of(pool, arms),
        )


def _baseline_of(pool: Pool, arms: Sequence[Arm]) -> Baseline | None:
    if pool.holdout_share + pool.apprentice_share == 0.0:
        return None
    positions = [index for index, arm in enumerate(arms) if arm.arm_id == pool.baseline_arm_id]
    return Baseline(positions[0], pool.holdout_share, pool.apprentice_share) if positions else None
