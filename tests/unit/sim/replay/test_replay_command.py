from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bandit_router_sim.cli import app
from bandit_router_sim.cli_replay import EXIT_USAGE
from bandit_router_sim.kept.cache import LINES
from bandit_router_sim.logs.canonical import write_full_log
from tests.unit.sim.compare.compare_logs import make_material


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "synthetic.parquet"
    write_full_log(make_material(60).log, path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments), "--jobs", "1"])


def runs_of(result: Result, path: Path) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"]
    return runs


def test_the_documented_command_reports_every_budget_and_seed(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.json"
    words = ("--policy", "default", "--budget", "0.0002,0.001", "--seeds", 2, "--learn-share", 0.5, "--json", out)
    runs = runs_of(run(log_file, *words), out)
    assert [(found["budget_usd"], found["seed"]) for found in runs] == [(2e-4, 0), (2e-4, 1), (1e-3, 0), (1e-3, 1)]
    promised = {"log", "policy", "budget_usd", "seed", "reward_mean", "spend_usd_mean", "refusals", "n"}
    assert all(promised <= found.keys() and found["n"] == 30 for found in runs)
    assert all(found["spend_usd_mean"] <= found["budget_usd"] for found in runs)


def test_flags_change_the_scenario(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.json"
    words = ("--budget", 1e-3, "--reward-delay", 5, "--bill-delay", 2, "--reward-rate", 0.5, "--json", out)
    plain, delayed = (runs_of(run(log_file, *words[:2], *more), out) for more in (words[-2:], words[2:]))
    assert plain[0]["scenario"] == delayed[0]["scenario"] == "stationary"
    assert plain[0]["reward_mean"] != delayed[0]["reward_mean"]


def test_a_limit_is_for_every_window_of_the_reported_stretch(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.json"
    words = ("--limit-usd", 0.003, "--windows", 2, "--window", "hour", "--hold-policy", "quantile", "--json", out)
    (found,) = runs_of(run(log_file, *words), out)
    assert found["budget_usd"] == pytest.approx(0.003 * 2 / 30)
    assert found["spend_usd_mean"] * 30 <= 0.006


def test_a_named_scenario_reports_its_phases(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.json"
    result = run(log_file, "--budget", 1e-3, "--scenario", "price_cut", "--json", out)
    (found,) = runs_of(result, out)
    assert [phase["n"] for phase in found["phases"]] == [10, 10, 10]
    assert {share["arm_id"] for share in found["phases"][0]["arm_shares"]} == {"small", "medium", "large"}
    assert "phase" in result.output


def test_a_directory_keeps_finished_runs(log_file: Path, tmp_path: Path) -> None:
    words = (log_file, "--budget", 1e-3, "--out", tmp_path / "out")
    first = runs_of(run(*words), tmp_path / "out/replay.json")
    again = runs_of(run(*words, "--seeds", 2), tmp_path / "out/replay.json")
    assert again[0] == first[0]
    assert len((tmp_path / "out" / LINES).read_text().splitlines()) == len(again) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "much"), "numbers of USD"),
        (("--budget", "-1"), "positive"),
        (("--budget", "0.001", "--policy", "nobody"), "nobody"),
        (("--budget", "0.001", "--hold-policy", "all"), "worst_case"),
        (("--budget", "0.001", "--backend", "spark"), "spark"),
        (("--budget", "0.001", "--window", "fixed"), "fixed"),
        (("--budget", "0.001", "--limit-usd", "1"), "--budget"),
        (("--budget", "0.001", "--arm", "nobody"), "nobody"),
        (("--budget", "0.001", "--scenario", "nowhere.yaml"), "nowhere"),
    ],
)
def test_a_mistake_is_a_usage_error_that_names_it(log_file: Path, words: tuple[str, ...], said: str) -> None:
    result = run(log_file, *words)
    assert result.exit_code == EXIT_USAGE
    assert said in result.output


def test_an_unknown_key_of_a_scenario_file_is_named(log_file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "p.yaml"
    plan.write_text("reward_dealy: 3")
    result = run(log_file, "--budget", "0.001", "--scenario", plan)
    assert result.exit_code == EXIT_USAGE
    assert "reward_dealy" in result.output


def test_tenants_with_budgets_of_their_own_take_no_limit(log_file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "p.yaml"
    plan.write_text("tenants: [{tenant_id: a, share: 0.5}, {tenant_id: b, share: 0.5, limit_usd: 0.01}]")
    refused = run(log_file, "--limit-usd", "1", "--scenario", plan)
    assert refused.exit_code == EXIT_USAGE
    assert "--limit-usd" in refused.output
    runs = runs_of(run(log_file, "--budget", 1e-3, "--scenario", plan, "--json", tmp_path / "r"), tmp_path / "r")
    assert [tenant["tenant_id"] for tenant in runs[0]["tenants"]] == ["a", "b"]
