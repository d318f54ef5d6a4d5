"""Priors of pools: checks, force on every replica, replacement, removal, and projections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bandit_router.core.errors import InvalidRequest, ResourceNotFound
from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior import ArmPrior, Relative
from bandit_router.core.prior_codec import encode_prior
from bandit_router.core.projection import cosine_projection
from bandit_router.core.schema import FIRST_SCHEMA
from bandit_router.ports.catalog import Kind
from tests.builders import make_pool
from tests.unit.service.worlds import DIMENSION, World, open_world

POOL = make_pool()
SIZE = 2 + POOL.dimension + len(POOL.features)


def arm_prior(level: float, worth: float = 1000.0) -> ArmPrior:
    mean = np.zeros(SIZE)
    mean[0] = level
    return ArmPrior(mean, worth * np.eye(SIZE))


def prior(**changes: object) -> PoolPrior:
    facts: dict[str, object] = {
        "encoder_id": POOL.encoder_id,
        "dimension": POOL.dimension,
        "features": POOL.features,
        "arms": {"small": arm_prior(0.2), "large": arm_prior(0.9), "gone": arm_prior(0.5)},
        "provenance": {"method": "bradley-terry"},
    }
    return PoolPrior(**{**facts, **changes})  # type: ignore[arg-type]


async def expected(world: World) -> dict[str, float]:
    reply = await world.route(dry_run=True)
    return {quote.arm_id: quote.expected_reward for quote in reply.decision.quotes}


async def test_an_imported_prior_is_what_arms_are_expected_to_earn() -> None:
    world = await open_world()
    before = await expected(world)
    imported = await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    after = await expected(world)
    assert imported.own_arm_ids == ("large", "small")
    assert after["small"] == pytest.approx(0.2, abs=0.05)
    assert after["large"] == pytest.approx(0.9, abs=0.05)
    assert after["small"] < before["small"] < after["large"]


async def test_only_a_prior_with_relative_parts_needs_the_third_schema() -> None:
    world, other = await open_world(), await open_world()
    mean = arm_prior(0.9).mean
    battles = Relative(mean, 1000.0 * np.eye(SIZE), np.eye(SIZE)).alone()
    relative = prior(arms={"small": arm_prior(0.2), "large": battles})
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    assert await world.store.catalog.schema() == world.services.directory.schema_needed() == 2
    await world.services.priors.import_prior("pool", encode_prior(relative), dry_run=False)
    assert await world.store.catalog.schema() == world.services.directory.schema_needed() == 3
    stored = (await world.services.priors.get_prior("pool")).prior.arms["large"].relative
    assert stored is not None
    assert np.array_equal(stored.shared, np.eye(SIZE))
    marginal = prior(arms={"small": arm_prior(0.2), "large": ArmPrior(mean, battles.precision)})
    await other.services.priors.import_prior("pool", encode_prior(marginal), dry_run=False)
    assert (await expected(world))["large"] != (await expected(other))["large"]


async def test_the_store_bears_the_schema_that_a_prior_needs_before_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await open_world()
    catalog, borne = world.store.catalog, []
    put = catalog.put

    async def noting(*args: Any, **options: Any) -> Any:
        borne.append(await catalog.schema())
        return await put(*args, **options)

    monkeypatch.setattr(catalog, "put", noting)
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=True)
    assert await catalog.schema() == FIRST_SCHEMA
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    assert borne == [2]


async def test_every_replica_uses_it_after_its_next_refresh() -> None:
    world = await open_world()
    other = await world.replica(2)
    await expected(other)
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    await other.services.refresh()
    assert await expected(other) == await expected(world)


async def test_a_prior_replaces_the_one_before_and_its_version_grows() -> None:
    world = await open_world()
    first = await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    again = prior(arms={"small": arm_prior(0.7)})
    second = await world.services.priors.import_prior("pool", encode_prior(again), dry_run=False)
    found = await expected(world)
    assert second.version > first.version > 0
    assert found["small"] == pytest.approx(0.7, abs=0.05)
    assert found["large"] == found["medium"]


async def test_nothing_of_a_removed_prior_is_left_but_what_rewards_taught() -> None:
    world, plain = await open_world(), await open_world()
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    await world.services.priors.delete_prior("pool", dry_run=False)
    assert await expected(world) == await expected(plain)
    with pytest.raises(ResourceNotFound) as caught:
        await world.services.priors.get_prior("pool")
    assert caught.value.reason == "PRIOR_NOT_FOUND"
    with pytest.raises(ResourceNotFound):
        await world.services.priors.delete_prior("pool", dry_run=False)


async def test_a_dry_run_says_what_would_be_and_changes_nothing() -> None:
    world = await open_world()
    before = world.contents()
    imported = await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=True)
    assert (imported.version, set(imported.arms)) == (0, {"small", "large"})
    assert world.contents() == before
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    await world.services.priors.delete_prior("pool", dry_run=True)
    assert (await world.services.priors.get_prior("pool")).version > 0


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"encoder_id": "static"}, "prior.encoder_id", "is 'static', the pool's is 'hash'"),
        ({"dimension": 9}, "prior.dimension", f"is 9, the pool's is {POOL.dimension}"),
        ({"features": ("hour", "vip")}, "prior.features", "is ['hour', 'vip'], the pool's is"),
        ({"arms": {"other": arm_prior(0.5)}}, "prior.arms", "are none of the pool's (prior: other; pool: large, me"),
        ({"arms": {"small": ArmPrior(np.zeros(3), np.eye(3))}}, "prior.arms", "speak of 3 coordinates, the pool has"),
        ({"projection": cosine_projection(17, POOL.dimension)}, "prior.projection", "takes 17 numbers, the pool's"),
    ],
)
async def test_a_prior_for_another_pool_is_refused_with_what_differs(
    change: dict[str, object], field: str, rule: str
) -> None:
    world = await open_world()
    before = world.contents()
    with pytest.raises(InvalidRequest) as caught:
        await world.services.priors.import_prior("pool", encode_prior(prior(**change)), dry_run=False)
    [violation] = caught.value.violations
    assert violation.field == field
    assert violation.description.startswith(rule)
    assert world.contents() == before


async def test_damaged_bytes_and_unknown_pools_are_refused() -> None:
    world = await open_world()
    data = encode_prior(prior())
    with pytest.raises(InvalidRequest, match="checksum"):
        await world.services.priors.import_prior("pool", data[:-1] + bytes([data[-1] ^ 1]), dry_run=False)
    with pytest.raises(ResourceNotFound):
        await world.services.priors.import_prior("nowhere", data, dry_run=False)


async def test_a_prior_brings_its_projection_and_learning_starts_again() -> None:
    world = await open_world()
    for number in range(5):
        await world.settle(await world.route(f"q{number}"), reward=1.0)
    await world.services.learner.step("pool")
    assert world.services.models.version("pool") > 0
    learned = prior(projection=cosine_projection(DIMENSION, POOL.dimension))
    await world.services.priors.import_prior("pool", encode_prior(learned), dry_run=False)
    assert (await expected(world))["small"] == pytest.approx(0.2, abs=0.05)
    assert (await world.route()).decision.projection_version == 1


async def test_a_projection_fitted_later_puts_an_older_prior_out_of_force() -> None:
    world, plain = await open_world(), await open_world()
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    texts = [f"query {number}" for number in range(40)]
    for replica in (world, plain):
        await replica.services.projections.fit_on_texts("pool", texts)
    assert not (await world.services.priors.get_prior("pool")).is_in_force
    assert await expected(world) == await expected(plain)
    with pytest.raises(InvalidRequest, match="fit the prior by pilot"):
        await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)


async def test_a_deleted_pool_leaves_no_prior_to_its_successor() -> None:
    world = await open_world()
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    await world.services.admin.delete_tenant("acme", etag="", dry_run=False)
    await world.services.admin.delete_pool("pool", etag="", dry_run=False)
    assert await world.store.catalog.get(Kind.PRIOR, "pool") is None
    await world.services.admin.create_pool(POOL, dry_run=False)
    with pytest.raises(ResourceNotFound):
        await world.services.priors.get_prior("pool")


async def test_rewards_that_contradict_a_prior_undo_it() -> None:
    world = await open_world()
    await world.services.priors.import_prior("pool", encode_prior(prior()), dry_run=False)
    for number in range(60):
        reply = await world.route(f"q{number}", allowed_arm_ids=("small",))
        await world.settle(reply, reward=0.95)
    await world.services.learner.step("pool")
    assert (await expected(world))["small"] == pytest.approx(0.95, abs=0.05)
