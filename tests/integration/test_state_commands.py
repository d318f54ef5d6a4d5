"""`bandit-router state` and `bandit-router events`: a service moves to another store; events that cannot be learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis
from server_process import ServerProcess, dump, settled_dump, wait_until
from typer.testing import CliRunner, Result

from bandit_router.app.cli.root import app
from tests.integration.conftest import fill


def run(server: ServerProcess, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--target", server.listen])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def events(server: ServerProcess) -> list[Any]:
    return [json.loads(line) for line in run(server, "events", "main").stdout.splitlines()]


def learned(store: redis.Redis) -> int:
    return int(store.hget("{pool:main}:snapshot", "version") or 0)


def test_a_service_moves_to_another_store_and_goes_on_there(tmp_path: Path) -> None:
    file = tmp_path / "state.brs"
    with ServerProcess(tmp_path / "old") as old, old.client(tenant_id="acme") as client, old.store() as store:
        fill(client)
        made = [client.route(query=f"question {n}", request_id=f"r{n}") for n in range(10)]
        for number, route in enumerate(made[:7]):
            client.feedback(route.decision_id, input_tokens=9, output_tokens=50 + number, reward=number / 7)
        wait_until(lambda: learned(store) > 0)
        before, budget = settled_dump(store), client.admin.get_budget("acme")
        assert run(old, "state", "export", str(file)).exit_code == 0
        assert len(events(old)) == 7
        assert run(old, "state", "import", str(file)).stderr.startswith("STORE_NOT_EMPTY")
        assert settled_dump(store) == before
    with ServerProcess(tmp_path / "new") as new, new.client(tenant_id="acme") as client, new.store() as store:
        counts = document(run(new, "state", "import", str(file), "--dry-run", "--json"))
        assert (counts["tenants"], counts["decisions"], counts["events"]) == ("4", "10", "7")
        assert [key for key in dump(store) if not key.endswith(b":schema")] == []
        assert document(run(new, "state", "import", str(file), "--json")) == counts
        assert settled_dump(store) == before
        assert client.admin.get_budget("acme") == budget
        assert client.route(query="question 9", request_id="r9").decision_id == made[9].decision_id
        assert client.feedback(made[9].decision_id, input_tokens=9, output_tokens=90).status == "APPLIED"
        wait_until(lambda: len(events(new)) == 8)


def test_a_file_of_a_service_that_needs_newer_code_says_so_and_takes_that_along(tmp_path: Path) -> None:
    file = tmp_path / "state.brs"
    with ServerProcess(tmp_path / "old") as old, old.client() as client:
        fill(client)
        client.admin.create_pool("silent", default_reward=0.5, default_reward_deadline_s=60)
        assert run(old, "state", "export", str(file)).exit_code == 0
    with file.open() as lines:
        assert json.loads(lines.readline())["schema_version"] == 2
    with ServerProcess(tmp_path / "new") as new, new.store() as store:
        assert run(new, "state", "import", str(file), "--dry-run").exit_code == 0
        assert store.get("{catalog}:schema") == b"1"
        assert run(new, "state", "import", str(file)).exit_code == 0
        assert store.get("{catalog}:schema") == b"2"


def test_what_was_not_written_by_an_export_is_refused_before_anything_happens(tmp_path: Path) -> None:
    file = tmp_path / "state.brs"
    with ServerProcess(tmp_path / "data") as server, server.client() as client, server.store() as store:
        fill(client)
        assert run(server, "state", "export", str(file)).exit_code == 0
        before = settled_dump(store)
        file.write_bytes(file.read_bytes().replace(b"acme", b"evil"))
        result = run(server, "state", "import", str(file), "--replace")
        assert result.exit_code == 1
        assert result.stderr.startswith("DATA_LOSS")
        assert settled_dump(store) == before


def test_an_event_that_cannot_be_learned_is_shown_and_tried_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, server.client(tenant_id="acme") as client, server.store() as store:
        fill(client)
        route = client.route(query="q")
        client.feedback(route.decision_id, cost_nusd=5, reward=1.0)
        wait_until(lambda: learned(store) > 0)
        assert document(run(server, "events", "dead", "main", "--json")) == []
        [stream] = store.keys("*:events:main")
        [(_, fields)] = store.xrange(stream)
        store.xadd(stream, {**fields, b"d": b"{not a decision"})
        wait_until(lambda: document(run(server, "events", "dead", "main", "--json")))
        [dead] = document(run(server, "events", "dead", "main", "--json"))
        assert dead["tries"] == 1
        assert "cannot be read" in dead["reason"]
        assert "JSONDecodeError" in run(server, "events", "dead", "main", "--json").stdout
        assert run(server, "events", "redrive", "main").exit_code == 0
        wait_until(lambda: document(run(server, "events", "dead", "main", "--json"))[0]["tries"] == 2)
        client.feedback(route.decision_id, reward=0.5, correct=True)
        version = learned(store)
        wait_until(lambda: learned(store) > version)
