from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.context import context_dimension
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.snapshots import Snapshot
from bandit_router.service import learning
from bandit_router.service.learning import LEASE_MS
from tests.builders import PRIOR_LEVEL, make_pool, make_tenant
from tests.unit.service.worlds import World, Wrapped, open_world, with_parts, yielding


async def teach(world: World, count: int, *, first: int = 0, reward: float = 0.7) -> None:
    """Decisions with usage and reward; every third reward is corrected, every fifth retracted."""
    for index in range(first, first + count):
        reply = await world.route(f"query {index}", request_id=f"r{index}")
        await world.settle(reply, output_tokens=50 + index, reward=reward)
        if index % 3 == 0:
            await world.feedback(reply.decision.decision_id, reward=0.2, correct=True)
        if index % 5 == 0:
            await world.feedback(reply.decision.decision_id, retract=True)


async def stored_state(world: World) -> PoolState:
    snapshot = await world.store.snapshots.load("pool")
    assert snapshot is not None
    return decode_pool_state(snapshot.state)


async def batch_state(world: World) -> PoolState:
    """What the whole event log teaches, folded once from nothing."""
    state = learning.empty_state(await world.services.directory.pool("pool"))
    for entry in await world.store.events.read("pool", {}, 10**6):
        learn(state, decode_decision(entry.decision), decode_outcome(entry.before), decode_outcome(entry.after))
    return state


async def assert_learned_exactly_once(world: World) -> None:
    state, expected = await stored_state(world), await batch_state(world)
    assert state.events == expected.events
    assert state.arms.keys() == expected.arms.keys()
    for arm_id, arm in state.arms.items():
        assert arm.settled == expected.arms[arm_id].settled
        for sums, batch in ((arm.reward, expected.arms[arm_id].reward), (arm.tokens, expected.arms[arm_id].tokens)):
            assert sums.count == batch.count
            assert sums.gram == pytest.approx(batch.gram, abs=1e-9)
            assert sums.moment == pytest.approx(batch.moment, abs=1e-9)


async def test_the_state_is_the_batch_solution_of_the_event_log() -> None:
    world = await open_world()
    for first in range(0, 30, 10):
        await teach(world, 10, first=first)
        assert await world.services.learner.step("pool") > 0
    await assert_learned_exactly_once(world)


async def test_without_news_nothing_is_published() -> None:
    world = await open_world()
    await teach(world, 3)
    await world.services.learner.step("pool")
    before = world.contents()
    assert await world.services.learner.step("pool") == 0
    assert world.contents()[1:] == before[1:]


async def test_a_snapshot_counts_up_and_says_which_log_positions_it_contains() -> None:
    world = await open_world()
    for version in (1, 2):
        await teach(world, 2, first=10 * version)
        await world.services.learner.step("pool")
        state = await stored_state(world)
        assert state.version == version
        assert state.positions == await world.store.events.last("pool")


async def test_what_was_learned_is_served_at_once_and_by_other_replicas_after_their_refresh() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    await other.route(dry_run=True)
    await teach(world, 5)
    await world.services.learner.step("pool")
    assert (await world.route(dry_run=True)).decision.snapshot_version == 1
    assert (await other.route(dry_run=True)).decision.snapshot_version == 0
    await other.services.refresh()
    assert (await other.route(dry_run=True)).decision.snapshot_version == 1


async def test_a_replica_that_starts_serves_the_stored_snapshot() -> None:
    world = await open_world()
    await teach(world, 5)
    await world.services.learner.step("pool")
    other = await world.replica(seed=2)
    assert (await other.route(dry_run=True)).decision.snapshot_version == 1


async def test_calls_at_once_on_a_fresh_replica_all_wait_for_the_stored_snapshot() -> None:
    world = await open_world()
    await teach(world, 5)
    await world.services.learner.step("pool")
    other = await world.replica(2, yielding(world.store))
    replies = await asyncio.gather(*(other.route(dry_run=True) for _ in range(5)))
    assert {reply.decision.snapshot_version for reply in replies} == {1}


async def test_only_one_replica_learns_while_the_lease_stands() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    await teach(world, 3)
    assert await world.services.learner.step("pool") > 0
    await teach(world, 3, first=3)
    assert await other.services.learner.step("pool") == 0
    assert await world.services.learner.step("pool") > 0


async def test_a_replica_that_closes_hands_its_pools_over_at_once() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    await teach(world, 3)
    await world.services.learner.step("pool")
    await teach(world, 3, first=3)
    await world.services.close()
    assert await other.services.learner.step("pool") > 0
    await assert_learned_exactly_once(world)


async def test_every_event_is_learned_exactly_once_however_often_the_lease_changes_hands() -> None:
    world = await open_world()
    replicas = [world, await world.replica(seed=2), await world.replica(seed=3)]
    for turn in range(12):
        await teach(replicas[turn % 2], 2, first=2 * turn)
        await replicas[turn % 3].services.learner.step("pool")
        world.clock.jump(LEASE_MS / 1000 if turn % 2 else 0.5)
    world.clock.jump(LEASE_MS / 1000)
    await world.services.learner.step("pool")
    await assert_learned_exactly_once(world)


async def test_a_replica_that_gets_its_lease_back_goes_on_from_what_was_stored_meanwhile() -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    for turn, replica in enumerate([world, other, world, other]):
        await teach(replica, 2, first=2 * turn)
        assert await replica.services.learner.step("pool") > 0
        world.clock.jump(LEASE_MS / 1000)
    assert "learner_fenced_off" not in world.observer.events() + other.observer.events()
    await assert_learned_exactly_once(world)


class LosesAnswers(Wrapped):
    """Stores the snapshot, or does not, and then fails: a crash around the moment of saving."""

    stores = True
    failures = 1

    async def save(self, pool_id: str, token: int, snapshot: Snapshot, **letters: Any) -> bool:
        if self.failures == 0:
            return bool(await self.inner.save(pool_id, token, snapshot, **letters))
        self.failures -= 1
        if self.stores:
            await self.inner.save(pool_id, token, snapshot, **letters)
        raise StoreUnavailable("the answer was lost")


@pytest.mark.parametrize("stores", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
async def test_a_lost_answer_to_a_save_neither_loses_nor_repeats_an_event(*, stores: bool, restarts: bool) -> None:
    world = await open_world()
    snapshots = LosesAnswers(world.store.snapshots)
    snapshots.stores = stores
    learner = await world.replica(2, with_parts(world.store, snapshots=snapshots))
    await teach(world, 6)
    with pytest.raises(StoreUnavailable):
        await learner.services.learner.step("pool")
    await teach(world, 6, first=6)
    if restarts:
        world.clock.jump(LEASE_MS / 1000)
        learner = await world.replica(3)
    for _ in range(3):
        await learner.services.learner.step("pool")
    await assert_learned_exactly_once(world)


async def test_what_could_not_be_saved_is_not_served() -> None:
    world = await open_world()
    snapshots = LosesAnswers(world.store.snapshots)
    snapshots.stores, snapshots.failures = False, 0
    learner = await world.replica(2, with_parts(world.store, snapshots=snapshots))
    await teach(learner, 6)
    await learner.services.learner.step("pool")
    await teach(learner, 6, first=6)
    snapshots.failures = 1
    with pytest.raises(StoreUnavailable):
        await learner.services.learner.step("pool")
    await learner.services.admin.update_pool(make_pool(exploration="igw:tau=9"), etag="", dry_run=False)
    assert (await learner.route(dry_run=True)).decision.snapshot_version == 1


class Paused(Wrapped):
    """Holds the learner up between folding and saving."""

    def __init__(self, inner: Any, meanwhile: Any) -> None:
        super().__init__(inner)
        self.meanwhile = meanwhile

    async def save(self, pool_id: str, token: int, snapshot: Snapshot, **letters: Any) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()
        return bool(await self.inner.save(pool_id, token, snapshot, **letters))


async def test_a_learner_that_lost_its_lease_while_folding_cannot_write() -> None:
    world = await open_world()
    rival = await world.replica(seed=2)

    async def take_over() -> None:
        world.clock.jump(LEASE_MS / 1000)
        await teach(rival, 2, first=6)
        assert await rival.services.learner.step("pool") > 0

    paused = await world.replica(3, with_parts(world.store, snapshots=Paused(world.store.snapshots, take_over)))
    await teach(world, 6)
    assert await paused.services.learner.step("pool") == 0
    assert "learner_fenced_off" in paused.observer.events()
    await assert_learned_exactly_once(world)
    world.clock.jump(LEASE_MS / 1000)
    await teach(world, 3, first=20)
    assert await paused.services.learner.step("pool") > 0
    await assert_learned_exactly_once(world)


async def test_a_frozen_pool_learns_nothing_and_everything_once_it_thaws() -> None:
    world = await open_world()
    await world.services.admin.freeze_learning("pool", frozen=True)
    await teach(world, 3)
    assert await world.services.learner.step("pool") == 0
    await world.services.admin.freeze_learning("pool", frozen=False)
    assert await world.services.learner.step("pool") > 0
    await assert_learned_exactly_once(world)


async def test_a_long_log_is_folded_in_bounded_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "FOLD_BATCH", 4)
    world = await open_world()
    await teach(world, 10)
    steps = []
    while folded := await world.services.learner.step("pool"):
        steps.append(folded)
    assert max(steps) == 4
    await assert_learned_exactly_once(world)


async def test_all_pools_learn_from_their_own_events() -> None:
    world = await open_world(tenants=[make_tenant("acme"), make_tenant("other")])
    await world.services.admin.create_pool(make_pool("second"), dry_run=False)
    await teach(world, 3)
    await world.settle(await world.route(tenant_id="acme"))
    assert await world.services.learner.step_all() > 0
    assert await world.store.snapshots.load("second") is None


async def test_a_new_projection_starts_learning_again() -> None:
    world = await open_world()
    await teach(world, 6)
    await world.services.learner.step("pool")
    fitted = await world.services.projections.fit_on_texts("pool", [f"text {i}" for i in range(20)])
    assert fitted.version == 1
    await teach(world, 4, first=6, reward=0.9)
    await world.services.learner.step("pool")
    state = await stored_state(world)
    assert (state.version, state.projection_version) == (2, 1)
    assert sum(arm.settled for arm in state.arms.values()) == 4
    assert world.observer.counts["events_not_learnable"] == 0


async def test_between_a_new_projection_and_its_first_snapshot_the_prior_is_served() -> None:
    world = await open_world()
    await teach(world, 20, reward=0.0)
    await world.services.learner.step("pool")
    taught = (await world.route(dry_run=True)).decision.quote.expected_reward
    await world.services.projections.fit_on_texts("pool", [f"text {i}" for i in range(20)])
    assert taught < 0.7
    assert (await world.route(dry_run=True)).decision.quote.expected_reward == pytest.approx(PRIOR_LEVEL)


async def test_a_late_reward_for_a_decision_in_old_coordinates_is_counted_and_passed_over() -> None:
    world = await open_world()
    reply = await world.route()
    await world.services.projections.fit_on_texts("pool", [f"text {i}" for i in range(20)])
    await world.settle(reply, reward=0.9)
    await world.settle(await world.route("new"), reward=0.9)
    assert await world.services.learner.step("pool") == 2
    assert world.observer.counts["events_not_learnable"] == 1
    assert (await stored_state(world)).events == 1


@pytest.mark.parametrize("dimension", [2, 4])
async def test_a_pool_made_again_under_its_old_name_has_learned_nothing(dimension: int) -> None:
    world = await open_world()
    other = await world.replica(seed=2)
    await teach(world, 10, reward=0.0)
    await world.services.learner.step("pool")
    assert (await other.route(dry_run=True)).decision.snapshot_version == 1
    admin = world.services.admin
    await admin.delete_tenant("acme", etag="", dry_run=False)
    arms = (await admin.list_arms("pool", page_size=10, page_token="")).items
    await admin.delete_pool("pool", etag="", dry_run=False)
    await other.services.refresh()
    await world.services.learner.step_all()
    await admin.create_pool(make_pool(dimension=dimension), dry_run=False)
    for stored in arms:
        await admin.put_arm("pool", stored.resource, etag="", dry_run=False)
    await admin.create_tenant(make_tenant(), dry_run=False)
    for replica in (world, other):
        await replica.services.refresh()
        reply = await replica.route(dry_run=True)
        assert reply.decision.quote.expected_reward == pytest.approx(PRIOR_LEVEL)
    await teach(world, 3, first=100)
    assert await world.services.learner.step("pool") > 0
    state = await stored_state(world)
    assert state.dimension == context_dimension(dimension, 0)
    assert sum(arm.settled for arm in state.arms.values()) == 3
    await other.services.refresh()
    assert (await other.route(dry_run=True)).decision.snapshot_version == (await stored_state(world)).version


async def test_the_lag_is_told_and_gone_once_everything_is_learned() -> None:
    world = await open_world()
    await teach(world, 3)
    count = len(await world.store.events.read("pool", {}, 100))
    world.clock.jump(2.5)
    await world.services.learner.step("pool")
    assert world.observer.levels["learner_lag_events"] == count
    assert world.observer.levels["learner_lag_seconds"] == pytest.approx(2.5)
    assert world.observer.levels["snapshot_version"] == 1
    await world.services.learner.step("pool")
    assert world.observer.levels["learner_lag_events"] == world.observer.levels["learner_lag_seconds"] == 0


async def test_who_no_longer_learns_tells_no_lag() -> None:
    world = await open_world()
    rival = await world.replica(seed=2)
    await teach(world, 3)
    world.clock.jump(1)
    await world.services.learner.step("pool")
    world.clock.jump(LEASE_MS / 1000)
    await rival.services.learner.step("pool")
    await world.services.learner.step("pool")
    assert world.observer.levels["learner_lag_seconds"] == 0


class Slow(Wrapped):
    """Every entry read takes a second to fold: time passes whenever other tasks have their turn."""

    def __init__(self, inner: Any, clock: Any) -> None:
        super().__init__(inner)
        self.clock, self.renewals = clock, 0

    async def acquire(self, *args: Any) -> int | None:
        self.renewals += 1
        token: int | None = await self.inner.acquire(*args)
        return token


async def test_a_fold_that_takes_longer_than_the_lease_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await open_world()
    rival = await world.replica(seed=2)
    await teach(world, 10)
    snapshots = Slow(world.store.snapshots, world.clock)
    learner = await world.replica(3, with_parts(world.store, snapshots=snapshots))
    original = learning.fold

    def slow_fold(*args: Any) -> Any:
        world.clock.jump(1.1)
        return original(*args)

    monkeypatch.setattr(learning, "YIELD_EVERY", 1)
    monkeypatch.setattr(learning, "fold", slow_fold)
    assert await learner.services.learner.step("pool") > 10
    assert snapshots.renewals > 10
    assert "learner_fenced_off" not in learner.observer.events()
    assert await rival.services.learner.step("pool") == 0
    await assert_learned_exactly_once(world)


async def test_a_backlog_of_full_pages_is_learned_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "FOLD_BATCH", 5)
    world = await open_world()
    await teach(world, 10)
    count = len(await world.store.events.read("pool", {}, 100))
    assert await world.services.learner.step_all() == count > 10
    await assert_learned_exactly_once(world)
