"""Feedback over gRPC: partial, out of order, repeated, corrected, retracted, late, poisoned."""

from __future__ import annotations

import math
import threading

import pytest
from server_process import ServerProcess, unchanged, wait_until

from bandit_router import Budget, Route, RouterClient
from bandit_router.errors import InvalidRequest, RouterError


@pytest.fixture
def decision(client: RouterClient) -> Route:
    return client.route(query="hello", max_output_tokens=100)


def law(budget: Budget | None) -> Budget:
    assert budget is not None
    assert budget.limit_nusd == budget.free_nusd + budget.held_nusd + budget.spent_nusd
    return budget


def test_usage_and_reward_in_one_call_settle_the_hold(client: RouterClient, decision: Route) -> None:
    before = client.admin.get_budget("acme")
    result = client.feedback(decision.decision_id, cost_nusd=1000, reward=0.5)
    after = law(result.budget)
    assert (result.status, result.settled_cost_nusd) == ("APPLIED", 1000)
    assert result.released_nusd == decision.hold_nusd - 1000
    assert after.held_nusd == before.held_nusd - decision.hold_nusd
    assert after.spent_nusd == before.spent_nusd + 1000


@pytest.mark.parametrize("first", ["usage", "reward"])
def test_usage_and_reward_come_apart_in_either_order(client: RouterClient, decision: Route, first: str) -> None:
    def usage() -> str:
        return client.feedback(decision.decision_id, input_tokens=10, output_tokens=20).status

    def reward() -> str:
        return client.feedback(decision.decision_id, reward=1.0).status

    steps = [usage, reward] if first == "usage" else [reward, usage]
    assert [step() for step in steps] == ["APPLIED", "APPLIED"]
    assert [step() for step in steps] == ["DUPLICATE", "DUPLICATE"]


def test_tokens_are_billed_at_the_prices_of_the_decision(client: RouterClient) -> None:
    decision = client.route(query="hello", allowed_arm_ids=["large"])
    result = client.feedback(decision.decision_id, input_tokens=1000, cached_input_tokens=400, output_tokens=100)
    assert result.settled_cost_nusd == 1000 * 2500 + 100 * 10_000


def test_an_exact_bill_wins_over_tokens(client: RouterClient, decision: Route) -> None:
    result = client.feedback(decision.decision_id, input_tokens=10, output_tokens=10, cost_usd="0.000000123")
    assert result.settled_cost_nusd == 123


def test_a_bill_of_zero_is_a_bill(client: RouterClient, decision: Route) -> None:
    assert client.feedback(decision.decision_id, cost_nusd=0).released_nusd == decision.hold_nusd
    assert client.feedback(decision.decision_id, cost_nusd=5).status == "DUPLICATE"


def test_a_reward_of_zero_is_a_reward(client: RouterClient, decision: Route) -> None:
    assert client.feedback(decision.decision_id, reward=0.0).status == "APPLIED"
    assert client.feedback(decision.decision_id, reward=1.0).status == "DUPLICATE"


def test_a_duplicate_changes_nothing(server: ServerProcess, client: RouterClient, decision: Route) -> None:
    client.feedback(decision.decision_id, cost_nusd=1000, reward=0.5)
    with server.store() as store, unchanged(store):
        assert client.feedback(decision.decision_id, cost_nusd=9999, reward=0.9).status == "DUPLICATE"


def test_corrections_leave_the_last_value_only(client: RouterClient, decision: Route) -> None:
    before = client.admin.get_budget("acme").spent_nusd
    client.feedback(decision.decision_id, cost_nusd=1000, reward=0.5)
    for cost_nusd in (5000, 10, 700):
        result = client.feedback(decision.decision_id, cost_nusd=cost_nusd, reward=0.1, correct=True)
        assert (result.status, result.settled_cost_nusd) == ("CORRECTED", cost_nusd)
    assert law(client.admin.get_budget("acme")).spent_nusd == before + 700


def test_a_reward_is_retracted_once(client: RouterClient, decision: Route) -> None:
    client.feedback(decision.decision_id, reward=1.0)
    assert client.feedback(decision.decision_id, retract=True).status == "CORRECTED"
    assert client.feedback(decision.decision_id, retract=True).status == "DUPLICATE"
    assert client.feedback(decision.decision_id, reward=0.25).status == "APPLIED"


def test_an_idempotency_key_counts_once_whatever_it_says(client: RouterClient, decision: Route) -> None:
    first = client.feedback(decision.decision_id, reward=1.0, idempotency_key="k")
    second = client.feedback(decision.decision_id, cost_nusd=5, idempotency_key="k")
    assert (first.status, second.status) == ("APPLIED", "DUPLICATE")


@pytest.mark.parametrize("outcome", ["cancelled", "failed"])
def test_a_call_that_was_not_made_releases_its_hold(client: RouterClient, decision: Route, outcome: str) -> None:
    result = client.feedback(decision.decision_id, outcome=outcome)  # type: ignore[arg-type]
    assert (result.settled_cost_nusd, result.released_nusd) == (0, decision.hold_nusd)


def test_a_bill_above_its_hold_is_booked_in_full(client: RouterClient, decision: Route) -> None:
    before = client.admin.get_budget("acme").overrun_nusd
    result = client.feedback(decision.decision_id, cost_nusd=decision.hold_nusd + 77)
    assert law(result.budget).overrun_nusd == before + 77


def test_usage_after_the_deadline_replaces_the_charge(client: RouterClient) -> None:
    client.admin.create_tenant("hasty", "main", limit_usd=1, hold_ttl_s=0.2)
    decision = client.route(query="hello", tenant_id="hasty")
    wait_until(lambda: client.admin.get_budget("hasty").held_nusd == 0)
    assert client.admin.get_budget("hasty").spent_nusd == decision.hold_nusd
    result = client.feedback(decision.decision_id, tenant_id="hasty", cost_nusd=10)
    assert law(result.budget).spent_nusd == 10


def test_a_decision_belongs_to_its_tenant(client: RouterClient, decision: Route) -> None:
    with pytest.raises(RouterError) as caught:
        client.feedback(decision.decision_id, tenant_id="poor", reward=1.0)
    assert caught.value.reason == "DECISION_NOT_FOUND"


@pytest.mark.parametrize(
    "poison", [{"reward": math.nan}, {"reward": 2.0}, {"cost_nusd": -1}, {"metrics": {"m": math.inf}}]
)
def test_poison_leaves_the_decision_as_it_was(
    server: ServerProcess, client: RouterClient, decision: Route, poison: dict[str, object]
) -> None:
    with server.store() as store, unchanged(store), pytest.raises(InvalidRequest):
        client.feedback(decision.decision_id, **{"reward": 0.5, "latency_ms": 3, **poison})  # type: ignore[arg-type]
    assert client.feedback(decision.decision_id, cost_nusd=1, reward=1.0).status == "APPLIED"


def test_the_same_bill_from_many_threads_is_booked_once(client: RouterClient, decision: Route) -> None:
    before = client.admin.get_budget("acme").spent_nusd
    statuses: list[str] = []

    def report() -> None:
        statuses.append(client.feedback(decision.decision_id, cost_nusd=1000).status)

    threads = [threading.Thread(target=report) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == ["APPLIED", *["DUPLICATE"] * 15]
    assert law(client.admin.get_budget("acme")).spent_nusd == before + 1000


def test_a_repeated_request_id_is_one_decision(client: RouterClient) -> None:
    first = client.route(query="hello", request_id="twice")
    held = client.admin.get_budget("acme").held_nusd
    second = client.route(query="something else", request_id="twice")
    assert (second.decision_id, second.arm_id, second.propensity) == (first.decision_id, first.arm_id, first.propensity)
    assert client.admin.get_budget("acme").held_nusd == held


def test_batches_answer_item_by_item(client: RouterClient) -> None:
    routes = client.route_batch([{"query": f"q{i}"} for i in range(50)] + [{"query": "q", "tenant_id": "poor"}])
    assert isinstance(routes[-1], RouterError)
    decided = [route for route in routes if isinstance(route, Route)]
    assert len({route.decision_id for route in decided}) == 50
    items = [{"decision_id": route.decision_id, "cost_nusd": 1, "reward": 1.0} for route in decided]
    results = client.feedback_batch([*items, {"decision_id": "nonsense", "reward": 1.0}, {"decision_id": ""}])  # type: ignore[list-item]
    statuses = [result.reason if isinstance(result, RouterError) else result.status for result in results]
    assert statuses == [*["APPLIED"] * 50, "DECISION_NOT_FOUND", "SKIPPED"]
