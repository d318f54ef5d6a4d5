"""The schema version that a store bears: no more than its content needs, and raised before what needs more is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.adapters.memory import SeededEntropy
from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.core.schema import FIRST_SCHEMA, SCHEMA_VERSION
from bandit_router.ports.catalog import ANY_VERSION, Kind, SchemaTooNew
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.documents import encode_resource
from bandit_router.service.messages import FeedbackRequest, RouteRequest, Usage
from tests.builders import SMALL, make_pool, make_tenant
from tests.unit.service.worlds import Recorder, encoders

DEFAULTS = make_pool("silent", default_reward=0.5, default_reward_deadline_s=60.0)


async def open_services(backend: Any, store: Any) -> Services:
    services = assemble(store, clock=backend.clock, entropy=SeededEntropy(1), encoders=encoders, observer=Recorder())
    await services.start()
    return services


@pytest.fixture
async def services(backend: Any) -> Services:
    """A replica that has done what the first schema's code could have done."""
    services = await open_services(backend, backend.store)
    await services.admin.create_pool(make_pool(), dry_run=False)
    await services.admin.put_arm("pool", SMALL, etag="", dry_run=False)
    await services.admin.create_tenant(make_tenant(), dry_run=False)
    return services


async def test_ordinary_traffic_needs_no_more_than_the_first_schema(services: Services) -> None:
    reply = await services.route.route(RouteRequest("acme", query="hello"))
    report = FeedbackRequest("acme", reply.decision.decision_id, usage=Usage(output_tokens=5), reward=0.5)
    await services.feedback.feedback(report)
    await services.learner.step("pool")
    assert await services.store.catalog.schema() == FIRST_SCHEMA


async def test_the_version_is_raised_before_what_needs_it_is_there(backend: Any, services: Services) -> None:
    seen: list[int] = []
    catalog = services.store.catalog
    put = catalog.put

    async def noting(kind: Kind, key: str, body: bytes, **options: int) -> Any:
        seen.append(await backend.another().catalog.schema())
        return await put(kind, key, body, **options)

    services.admin._catalog.put = noting  # type: ignore[method-assign]
    await services.admin.create_pool(DEFAULTS, dry_run=True)
    assert await catalog.schema() == FIRST_SCHEMA
    await services.admin.create_pool(DEFAULTS, dry_run=False)
    assert seen == [2]
    await services.admin.create_pool(make_pool("ordinary"), dry_run=False)
    assert await catalog.schema() == 2


async def test_a_change_of_a_tenants_window_raises_it(services: Services) -> None:
    stored = await services.admin.get_tenant("acme")
    await services.admin.update_tenant(replace(stored.resource, expected_calls=7), etag="", dry_run=False)
    assert await services.store.catalog.schema() == FIRST_SCHEMA
    daily = replace(stored.resource, window=WindowRule(kind=WindowKind.DAY))
    await services.admin.update_tenant(daily, etag="", dry_run=False)
    assert await services.store.catalog.schema() == 2


async def test_a_store_that_bears_less_than_its_content_needs_is_put_right_at_a_start(backend: Any) -> None:
    catalog = backend.store.catalog
    await catalog.check_schema(SCHEMA_VERSION)
    await catalog.put(Kind.POOL, "silent", encode_resource(DEFAULTS), expected_version=ANY_VERSION)
    await open_services(backend, backend.another())
    assert await catalog.schema() == 2
    with pytest.raises(SchemaTooNew, match="schema version 2; this code knows up to 1"):
        await catalog.check_schema(1)


async def test_it_is_never_lowered_when_what_needed_it_goes(services: Services) -> None:
    await services.admin.create_pool(DEFAULTS, dry_run=False)
    await services.admin.delete_pool("silent", etag="", dry_run=False)
    assert await services.store.catalog.schema() == 2
