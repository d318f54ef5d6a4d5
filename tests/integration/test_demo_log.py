"""The demo's log, exported from a server, through the commands that the README names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from server_process import ServerProcess
from typer.testing import CliRunner, Result

from bandit_router.app.cli.root import app as router
from bandit_router.app.demo.run import run_demo
from bandit_router_sim.cli import app as simulator
from bandit_router_sim.tune.config_file import as_config
from bandit_router_sim.tune.policy_search import Plan, search
from tests.unit.sim.compare.compare_logs import make_material

BUDGET_USD = 0.02
"""More than is spent: every arm stays feasible to the end, whatever the order in which answers come."""

GEMINI = "google/gemini-2.5-pro"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a small demo that explores much."""
    folder = tmp_path_factory.mktemp("demo")
    quiet = Console(quiet=True)
    data = folder / "data"
    data.mkdir()
    run_demo(quiet, budget_usd=BUDGET_USD, requests=450, seed=0, exploration="igw:tau=10", data_dir=data)
    with ServerProcess(data) as server:
        exported = CliRunner().invoke(router, ["events", "demo", "--target", server.listen])
    assert exported.exit_code == 0, exported.output
    file = folder / "events.jsonl"
    file.write_text(exported.stdout)
    return file


def simulate(*arguments: object) -> Result:
    """A command of the simulator."""
    return CliRunner().invoke(simulator, [str(argument) for argument in arguments])


def test_the_demos_log_goes_through_replay_ope_and_tune(events: Path, tmp_path: Path) -> None:
    report = tmp_path / "found.json"
    replayed = simulate("replay", events, "--seeds", 1, "--exploration", "igw:tau=10", "--jobs", 1, "--json", report)
    assert replayed.exit_code == 0, replayed.output
    run = json.loads(report.read_text())["runs"][0]
    assert run["refusal"] is None
    assert run["quality"]["low"] < run["quality"]["value"] < run["quality"]["high"]
    assert "doubly robust" in replayed.output

    evaluated = simulate("ope", events, "--budget", "0.001", "--json", report)
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(report.read_text())["evaluations"][0]["reward"]["refusal"] is None

    tuned = simulate("tune", "budget", events, "--tau", 10, "--budget", 0.003, "--json", report)
    assert tuned.exit_code == 0, tuned.output
    advice = json.loads(report.read_text())["quality_of_budget"][0]
    assert advice["low"] < advice["value"] < advice["high"]

    lived = simulate(
        "tune", "counterfactual", events, "--exploration", "igw:tau=10", "--seeds", 1, "--jobs", 1,
        "--limit-usd", 0.4, "--without", GEMINI, "--json", report,
    )  # fmt: skip
    assert lived.exit_code == 0, lived.output
    found = json.loads(report.read_text())["budgets"][0]
    assert dict(found["arm_shares"])[GEMINI] == 0.0
    assert found["spend_usd_in_loop"] <= 0.4 / 450


def test_what_the_log_cannot_answer_is_refused_with_the_reason(events: Path) -> None:
    for arguments, reason in (
        (("tune", "counterfactual", events, "--without", "nobody"), "no arm 'nobody'"),
        (("tune", "counterfactual", events, "--tenant", "nobody"), "no decision of tenant 'nobody'"),
        (("tune", "policy", events), "one outcome a row"),
    ):
        result = simulate(*arguments)
        assert result.exit_code == 1
        assert reason in result.output


def test_a_decision_log_is_not_replayed_under_a_scenario(events: Path) -> None:
    assert simulate("replay", events, "--reward-rate", 0.5).exit_code == 2


def test_the_configuration_of_a_search_is_accepted_by_the_server(tmp_path: Path) -> None:
    found = search(make_material(200, dimension=8), Plan(budgets_usd=(1e-3,), seeds=1, trials=2))
    file = tmp_path / "tuned.yaml"
    file.write_text(as_config(found, pool_id="chat", encoder_id="static"))
    assert yaml.safe_load(file.read_text())["pools"][0]["learner"] == found.recommended.learner
    command = [sys.executable, "-m", "bandit_router.app.cli", "config", "check", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
