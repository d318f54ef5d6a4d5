from __future__ import annotations

from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from bandit_router_sim.cli_compare import compare
from bandit_router_sim.cli_report import EXIT_USAGE, report
from bandit_router_sim.compare.provenance import commit_of, installed_versions
from bandit_router_sim.logs.canonical import write_full_log
from tests.unit.sim.compare.compare_logs import make_material
from tests.unit.sim.report.pages import parse

SMALL = ("--budgets", "1", "--seeds", "1", "--peers", "none", "--references", "static_mix", "--jobs", "1")


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(compare)
    app.command()(report)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison")
    write_full_log(make_material(40).log, path / "synthetic.parquet")
    result = run("compare", str(path / "synthetic.parquet"), *SMALL, "--date", "2026-01-02", "--out", str(path))
    assert result.exit_code == 0, result.output
    return path


def test_compare_leaves_the_page_with_its_date_and_versions(directory: Path) -> None:
    page = parse((directory / "report.html").read_text(encoding="utf-8"))
    assert "2026-01-02" in page.texts["dd"]
    assert f"numpy {installed_versions()['numpy']}" in page.texts["dd"]
    assert page.texts["code"].startswith("bandit-router-sim ")


def test_report_renders_the_same_page_again_where_it_is_told(directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = run("report", str(directory), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == (directory / "report.html").read_bytes()


def test_report_of_another_directory_is_a_usage_error(tmp_path: Path) -> None:
    result = run("report", str(tmp_path))
    assert result.exit_code == EXIT_USAGE
    assert "no compare.json" in result.output


def test_a_file_outside_a_checkout_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / "file.py").touch()
    assert commit_of(tmp_path / "file.py") == ""
