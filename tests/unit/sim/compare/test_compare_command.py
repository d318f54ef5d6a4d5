from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from bandit_router_sim.cli_compare import EXIT_USAGE, compare
from bandit_router_sim.logs.canonical import write_full_log
from tests.unit.sim.compare.compare_logs import make_material

SMALL = ("--budgets", "1", "--seeds", "1", "--peers", "none", "--references", "static_mix", "--jobs", "1")


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "synthetic.parquet"
    write_full_log(make_material(40).log, path)
    return path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(compare)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_writes_and_prints_a_comparison(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(str(log_file), *SMALL, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "| *static_mix* |" in result.output
    found = json.loads((out / "compare.json").read_text())
    assert [run["policy"] for run in found["runs"]] == ["default", "static_mix"]


def test_quick_means_three_budgets_and_two_orders(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--peers", "litellm_adaptive", "--references", "none", "--jobs", "1", "--quick", "--out", str(out))
    result = run(str(log_file), *arguments)
    assert result.exit_code == 0, result.output
    assert len(json.loads((out / "compare.json").read_text())["runs"]) == 2 * 3 * 2


def test_an_unknown_name_is_a_usage_error_that_lists_the_known(log_file: Path) -> None:
    result = run(str(log_file), "--peers", "nobody")
    assert result.exit_code == EXIT_USAGE
    assert "nobody" in result.output


def test_an_arm_that_is_not_in_the_log_is_a_usage_error(log_file: Path) -> None:
    result = run(str(log_file), "--arm", "nobody", *SMALL)
    assert result.exit_code == EXIT_USAGE
    assert "no arm 'nobody'" in result.output
