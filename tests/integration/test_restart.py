"""kill -9 of a server: nothing that was answered is lost, and it goes on as if nothing had happened."""

from __future__ import annotations

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from server_process import ServerProcess, settled_dump, wait_until
from test_server import free_port

from bandit_router import Route, RouterClient
from bandit_router.client_messages import FeedbackResult, RouteItem
from tests.integration.conftest import fill

DECISIONS = 1000
ROUNDS = 10
PER_ROUND = DECISIONS // ROUNDS
AFTER = 100


class Learned:
    """How many events a server has folded, by its own count."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def has_folded(self, count: int) -> bool:
        with urllib.request.urlopen(self._url, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        folded = [float(line.split()[-1]) for line in lines if line.startswith("bandit_router_events_folded_total")]
        return sum(folded) == count


def question(number: int) -> str:
    topics = ("Prove that there are infinitely many primes", "Translate 'cat' to French", "Summarise this e-mail")
    return f"{topics[number % 3]} ({number})"


def reward_of(number: int, arm_id: str) -> float:
    """Large is good at everything, small at what is easy."""
    return 1.0 if arm_id == "large" or number % 3 else 0.0


def request(number: int) -> RouteItem:
    return {"query": question(number), "request_id": f"request-{number}", "max_output_tokens": 500}


def decide(client: RouterClient, numbers: range) -> list[Route]:
    """The first half one after another, the rest in one batch."""
    middle = len(numbers) // 2
    singles = [client.route(**request(number)) for number in numbers[:middle]]
    batch = client.route_batch([request(number) for number in numbers[middle:]])
    return [*singles, *(route for route in batch if isinstance(route, Route))]


def report(client: RouterClient, numbers: range, routes: list[Route]) -> None:
    results = client.feedback_batch(
        [
            {
                "decision_id": route.decision_id,
                "input_tokens": 20,
                "output_tokens": 50 + 100 * (n % 3),
                "reward": reward_of(n, route.arm_id),
            }
            for n, route in zip(numbers, routes, strict=True)
        ]
    )
    assert all(isinstance(result, FeedbackResult) and result.status == "APPLIED" for result in results)


def drive(server: ServerProcess, learned: Learned) -> list[Route]:
    """The same traffic for every server: decisions, their feedback, and time to learn, round by round."""
    made: list[Route] = []
    with server.client(tenant_id="acme") as client:
        fill(client)
        client.admin.set_budget_limit("acme", limit_usd=100)
        for round_number in range(ROUNDS):
            numbers = range(round_number * PER_ROUND, (round_number + 1) * PER_ROUND)
            routes = decide(client, numbers)
            report(client, numbers, routes)
            made += routes
            wait_until(partial(learned.has_folded, len(made)))
    return made


def fingerprint(routes: list[Route]) -> list[tuple[str, float, float, int]]:
    return [(route.arm_id, route.propensity, route.price_per_usd, route.hold_nusd) for route in routes]


def test_after_a_kill_everything_is_there_and_goes_on_as_in_an_uninterrupted_run(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    with (
        ServerProcess(tmp_path / "killed", metrics_port=ports[0]) as killed,
        ServerProcess(tmp_path / "steady", metrics_port=ports[1]) as steady,
    ):
        with ThreadPoolExecutor(2) as pool:
            before, expected = pool.map(drive, (killed, steady), map(Learned, ports))
        assert fingerprint(before) == fingerprint(expected)
        assert len({route.arm_id for route in before}) == 2

        with killed.client() as client:
            budget = client.admin.get_budget("acme")
            open_decision = client.route(query="open", tenant_id="acme", request_id="open")
        with steady.client() as client:
            client.route(query="open", tenant_id="acme", request_id="open")
        with killed.store() as store:
            state = settled_dump(store)
        killed.kill()

        with ServerProcess(tmp_path / "killed") as again:
            with again.store() as store:
                assert settled_dump(store) == state
            with again.client(tenant_id="acme") as client, steady.client(tenant_id="acme") as other:
                after = client.admin.get_budget("acme")
                assert after.spent_nusd == budget.spent_nusd > 0
                assert after.decisions == DECISIONS + 1
                assert after.held_nusd == open_decision.hold_nusd
                assert client.route(query="x", request_id="request-0").decision_id == before[0].decision_id
                numbers = range(DECISIONS, DECISIONS + AFTER)
                assert fingerprint(decide(client, numbers)) == fingerprint(decide(other, numbers))
                assert client.feedback(before[0].decision_id, reward=0.5, correct=True).status == "CORRECTED"
                assert client.feedback(before[1].decision_id, cost_nusd=5).status == "DUPLICATE"
                assert client.feedback(open_decision.decision_id, cost_nusd=5).settled_cost_nusd == 5


def test_the_learned_state_survives_a_kill(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client:
        fill(client)
        numbers = range(50)
        report(client, numbers, decide(client, numbers))
        wait_until(lambda: client.route(query="q", dry_run=True).snapshot_version > 0)
        with server.store() as store:
            settled_dump(store)
        learned = client.route(query=question(1), dry_run=True, explain=True)
        server.kill()
    with ServerProcess(tmp_path / "data") as again, again.client(tenant_id="acme") as client:
        recalled = client.route(query=question(1), dry_run=True, explain=True)
    assert recalled.snapshot_version == learned.snapshot_version
    assert [arm.expected_reward for arm in recalled.arms] == [arm.expected_reward for arm in learned.arms]
    assert [arm.expected_output_tokens for arm in recalled.arms] == [arm.expected_output_tokens for arm in learned.arms]
