from __future__ import annotations

import numpy as np
import pytest

from bandit_router.core.errors import InvalidRequest, ResourceNotFound
from bandit_router.core.projection import fit_projection
from bandit_router.service import projections
from tests.builders import generator, make_pool
from tests.unit.service.worlds import HashEncoder, open_world

TEXTS = [f"text {index}" for index in range(30)]


async def test_a_projection_fitted_on_texts_is_that_of_their_embeddings() -> None:
    world = await open_world()
    fitted = await world.services.projections.fit_on_texts("pool", TEXTS)
    assert (fitted.version, fitted.samples) == (1, 30)
    projection = world.services.directory.projection("pool")
    expected = fit_projection(HashEncoder().encode(TEXTS), 4)
    assert projection is not None
    assert (projection.matrix == expected.matrix).all()


async def test_every_fit_has_a_higher_version() -> None:
    service = (await open_world()).services.projections
    embeddings = generator(1).normal(size=(20, 4)).tolist()
    versions = [(await service.fit_on_embeddings("pool", embeddings)).version for _ in range(3)]
    assert versions == [1, 2, 3]


async def test_contexts_are_made_with_the_fitted_projection() -> None:
    world = await open_world()
    before = (await world.route("hello", dry_run=True)).decision
    await world.services.projections.fit_on_texts("pool", TEXTS)
    after = (await world.route("hello", dry_run=True)).decision
    assert (before.projection_version, after.projection_version) == (0, 1)
    assert before.context[:2] == after.context[:2]
    assert not np.allclose(before.context[2:], after.context[2:])


@pytest.mark.parametrize("count", [0, 4, 21])
async def test_a_fit_needs_more_samples_than_dimensions_and_not_too_many(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(projections, "MAX_SAMPLES", 20)
    service = (await open_world()).services.projections
    with pytest.raises(InvalidRequest, match="texts"):
        await service.fit_on_texts("pool", TEXTS[:count])
    with pytest.raises(InvalidRequest, match="embeddings"):
        await service.fit_on_embeddings("pool", np.ones((count, 4)).tolist())


@pytest.mark.parametrize("poison", [float("nan"), 1e9])
async def test_poisoned_embeddings_are_refused(poison: float) -> None:
    world = await open_world()
    embeddings = generator(1).normal(size=(20, 4))
    embeddings[3, 2] = poison
    with pytest.raises(InvalidRequest, match="embeddings"):
        await world.services.projections.fit_on_embeddings("pool", embeddings.tolist())
    assert world.services.directory.projection("pool") is None


async def test_embeddings_without_content_are_refused() -> None:
    service = (await open_world()).services.projections
    with pytest.raises(InvalidRequest, match="rows that are not zero"):
        await service.fit_on_embeddings("pool", np.zeros((20, 4)).tolist())


async def test_texts_cannot_be_fitted_on_where_the_encoder_takes_vectors_only() -> None:
    world = await open_world()
    await world.services.admin.create_pool(make_pool("vectors", encoder_id="vectors"), dry_run=False)
    with pytest.raises(InvalidRequest, match="send an embedding"):
        await world.services.projections.fit_on_texts("vectors", TEXTS)


async def test_a_pool_that_does_not_exist_has_no_projection() -> None:
    with pytest.raises(ResourceNotFound):
        await (await open_world()).services.projections.fit_on_texts("nowhere", TEXTS)
