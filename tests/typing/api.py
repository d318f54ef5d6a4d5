"""The public API as users type it. Never run: mypy --strict must accept it, and nothing that is marked as an error."""

from __future__ import annotations

from typing import assert_type

from bandit_router import AsyncRouterClient, Budget, FeedbackResult, Route, Router, RouterClient, RouterError
from bandit_router.core.resources import Arm, Pool, Tenant
from bandit_router.testing import RouterBox


def use_the_sync_client() -> None:
    with RouterClient("localhost:50051", tenant_id="acme", fallback_arm_id="small", timeout_s=0.5) as client:
        route = client.route(query="hello", max_output_tokens=100, features={"hour": 3.0}, timeout_s=1.0)
        assert_type(route, Route)
        assert_type(route.budget, Budget | None)
        assert_type(client.feedback(route.decision_id, cost_usd="0.01", reward=1.0, outcome="ok"), FeedbackResult)
        assert_type(client.route_batch([{"query": "a"}, {"embedding": [0.5]}]), list[Route | RouterError])
        results = client.feedback_batch([{"decision_id": "d", "reward": 1.0}])
        assert_type(results, list[FeedbackResult | RouterError])
        assert_type(client.admin.create_pool("main", seed=3), Pool)
        assert_type(client.admin.put_arm("main", "a", input_usd_per_mtok="1", output_usd_per_mtok="2"), Arm)
        assert_type(client.admin.create_tenant("acme", "main", limit_usd=5, window={"kind": "day"}), Tenant)
        assert_type(client.admin.list_tenants(), list[Tenant])


async def use_the_async_client() -> None:
    async with AsyncRouterClient("localhost:50051", tenant_id="acme") as client:
        assert_type(await client.route("hello"), Route)
        assert_type(await client.admin.get_budget("acme"), Budget)


async def use_a_router_in_process() -> None:
    async with Router.open(data_dir="data", tenant_id="acme") as router:
        assert_type(router, Router)
        assert_type(await router.route(query="hello"), Route)
    async with RouterBox.open(tenant_id="acme", seed=1) as box:
        assert_type(await box.router.feedback("d", reward=1.0), FeedbackResult)


def misuse(client: RouterClient) -> None:
    client.route(query=1)  # type: ignore[arg-type]
    client.route(querry="hello")  # type: ignore[call-arg]
    client.route("hello", 5)  # type: ignore[call-arg]
    client.feedback(reward=1.0)  # type: ignore[call-arg]
    client.feedback("d", outcome="perfect")  # type: ignore[arg-type]
    client.feedback_batch([{"reward": 1.0}])  # type: ignore[typeddict-item]
    client.admin.create_tenant("acme", "main", limit_usd=5, window={"kind": "decade"})  # type: ignore[typeddict-item]
