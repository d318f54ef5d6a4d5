"""The commands, as a person or a script uses them, against a server of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess, wait_until
from typer.testing import CliRunner, Result

from bandit_router.app.cli.root import app
from bandit_router.client_json import JsonClient

Command = Callable[..., Result]


@pytest.fixture
def command(server: ServerProcess) -> Command:
    """Run a command against the module's server."""

    def run(*words: str, target: bool = True) -> Result:
        ending = ("--target", server.listen) if target else ()
        return CliRunner().invoke(app, [*words, *ending])

    return run


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_pool_with_arms_and_a_tenant_is_set_up_by_commands_alone(command: Command) -> None:
    assert document(command("pool", "create", "shell", "--seed", "3", "--json"))["seed"] == "3"
    arm = document(command("arm", "put", "shell", "tiny", "--input", "0.10", "--output", "0.4", "--json"))
    assert (arm["input_usd_per_mtok"], arm["enabled"]) == ("0.1", True)
    words = ("tenant", "create", "shop", "--pool", "shell", "--limit-usd", "0.5", "--window", "month", "--json")
    tenant = document(command(*words))
    assert (tenant["limit_nusd"], tenant["window"]["kind"]) == ("500000000", "WINDOW_KIND_MONTH")
    assert [row["arm_id"] for row in document(command("arm", "list", "shell", "--json"))] == ["tiny"]
    assert "shop" in command("tenant", "list").stdout


def test_baselines_and_money_for_trying_a_new_arm_are_set_by_commands(command: Command) -> None:
    words = ("pool", "create", "kept", "--baseline", "tiny", "--holdout-share", "0.25", "--apprentice-share", "0.5")
    pool = document(command(*words, "--json"))
    assert (pool["baseline_arm_id"], pool["holdout_share"], pool["apprentice_share"]) == ("tiny", 0.25, 0.5)
    arm = ("arm", "put", "kept", "tiny", "--input", "0.1", "--output", "0.4", "--onboarding-usd", "0.05", "--json")
    assert document(command(*arm))["onboarding_nusd"] == "50000000"
    assert command("pool", "create", "unnamed", "--holdout-share", "0.1").exit_code == 1


def test_a_dry_run_of_a_creation_creates_nothing(command: Command) -> None:
    assert command("pool", "create", "never", "--dry-run").exit_code == 0
    assert "never" not in {row["pool_id"] for row in document(command("pool", "list", "--json"))}


def test_a_routed_query_takes_its_bill_and_reward_and_shows_in_the_events(command: Command) -> None:
    route = document(command("route", "How far is the moon?", "--tenant", "acme", "--explain", "--json"))
    assert sum(arm["propensity"] for arm in route["arms"]) == pytest.approx(1.0)
    words = ("feedback", route["decision_id"], "--tenant", "acme", "--reward", "0.75", "--cost-usd", "0.0001")
    taken = document(command(*words, "--json"))
    assert (taken["status"], taken["settled_cost_nusd"]) == ("FEEDBACK_STATUS_APPLIED", "100000")
    events = [json.loads(line) for line in command("events", "main", "--tenant", "acme").stdout.splitlines()]
    mine = [event for event in events if event["decision_id"] == route["decision_id"]]
    assert (mine[-1]["reward"], mine[-1]["cost_nusd"]) == (0.75, "100000")


def test_budget_edits_are_shown_and_audited(command: Command) -> None:
    document(command("budget", "set-limit", "poor", "0.000002", "--reason", "raise", "--json"))
    budget = document(command("budget", "grant", "poor", "0.000001", "--reason", "gift", "--json"))
    assert budget["limit_nusd"] == "3000"
    audit = document(command("budget", "audit", "poor", "--json"))
    assert [entry["reason"] for entry in audit] == ["raise", "gift"]
    assert "0.000003 USD" in command("budget", "get", "poor").stdout


def test_a_refusal_ends_with_its_reason_on_stderr_and_status_1(command: Command) -> None:
    refused = command("route", "anything", "--tenant", "nobody")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "TENANT_NOT_FOUND" in refused.stderr


def test_an_amount_that_is_no_number_is_a_usage_error(command: Command) -> None:
    assert command("budget", "grant", "poor", "much").exit_code == 2


def test_freezing_stops_the_learning_until_it_is_lifted(command: Command, server: ServerProcess) -> None:
    def snapshot() -> int:
        route = document(command("route", "frozen?", "--tenant", "acme", "--dry-run", "--json"))
        return int(route["snapshot_version"])

    assert command("pool", "freeze", "main").exit_code == 0
    before = snapshot()
    route = document(command("route", "frozen?", "--tenant", "acme", "--json"))
    document(command("feedback", route["decision_id"], "--tenant", "acme", "--reward", "1", "--json"))
    assert snapshot() == before
    assert command("pool", "freeze", "main", "--off").exit_code == 0
    wait_until(lambda: snapshot() > before)


def test_a_projection_is_fitted_on_a_file_of_queries(command: Command, tmp_path: Path) -> None:
    document(command("pool", "create", "fitted", "--dimension", "4", "--json"))
    sample = tmp_path / "queries.txt"
    sample.write_text("\n".join(f"question number {n} about topic {n % 7}" for n in range(40)))
    fitted = document(command("pool", "fit-projection", "fitted", "--from", str(sample), "--json"))
    assert (fitted["version"], fitted["samples"]) == ("1", "40")


def test_a_configuration_with_an_unknown_key_is_refused_by_its_name(command: Command, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("listen: 127.0.0.1:7000\n")
    bad.write_text("listne: 127.0.0.1:7000\n")
    assert command("config", "check", str(good), target=False).exit_code == 0
    refused = command("config", "check", str(bad), target=False)
    assert refused.exit_code == 2
    assert "listne" in refused.stderr


def test_the_doctor_finds_nothing_wrong_with_this_installation(command: Command) -> None:
    examined = command("doctor", target=False)
    assert examined.exit_code == 0, examined.stdout


def test_the_demo_keeps_its_budget_and_says_so_in_its_last_line() -> None:
    result = CliRunner().invoke(app, ["demo", "--requests", "400", "--budget", "0.0003", "--json"])
    found = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 0
    assert found["budget_law_holds"] is True
    assert found["decisions"] + found["refusals"] == 400
    assert 0.0 < found["spent_usd"] <= found["limit_usd"]
    assert found["reward_mean"] < found["hindsight_reward"]


def test_a_preview_says_what_other_limits_would_bring(command: Command, server: ServerProcess) -> None:
    for number in range(40):
        document(command("route", f"question {number}", "--tenant", "acme", "--json"))
    with JsonClient(server.listen) as client:

        def preview(limit_nusd: int) -> tuple[int, float]:
            answer = client.call("PreviewBudget", {"tenant_id": "acme", "limits_nusd": [limit_nusd]})
            assert answer["contexts"] >= 40
            found = answer["previews"][0]
            assert sum(found["arm_shares"].values()) == pytest.approx(1.0)
            return int(found["expected_spend_nusd"]), found["price_per_usd"]

        (least, dear), (most, free) = preview(1), preview(10**15)
        middle = (least + most) // 2
        spend, price = preview(middle)
        assert least <= spend <= middle <= most
        assert dear > price > free == 0.0


def test_the_example_configuration_is_one_that_a_server_takes(command: Command) -> None:
    example = Path(__file__).parents[2] / "deploy" / "bandit-router.yaml"
    assert command("config", "check", str(example), target=False).exit_code == 0
