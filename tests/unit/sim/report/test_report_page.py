from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bandit_router_sim.compare.comparison import Plan, compare
from bandit_router_sim.compare.provenance import Provenance
from bandit_router_sim.compare.report import write_report
from bandit_router_sim.replay.setting import POLICIES
from bandit_router_sim.report.numbers import interval, reward, signed, usd_per_thousand
from bandit_router_sim.report.page import render, write_page
from bandit_router_sim.report.results import NotAComparison, read_results
from tests.unit.sim.compare.compare_logs import ARM_IDS, make_material
from tests.unit.sim.report.pages import figures_of, parse

HOSTILE = "<img src=x onerror=alert(1)></script><b>%{x}&amp;\u2028"
PLAN = Plan(
    policies=[POLICIES["default"], POLICIES["unpaced"]],
    peers=["litellm_adaptive"],
    references=["static_mix", "hindsight_lp"],
    budgets=2,
    seeds=2,
)
PROVENANCE = Provenance(
    command="bandit-router-sim compare 'a log.parquet' --budgets 2",
    date="2026-01-02",
    commit="0123abc-dirty",
    seeds=[0, 1],
    learn_share=0.5,
    max_rows=None,
    versions={"Python": "3.11.7", "numpy": "2.4.6"},
)

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison")
    materials = [make_material(120, name="first"), make_material(120, seed=1, name="second")]
    write_report(compare(materials, PLAN, out_dir=path), path, PROVENANCE)
    return path


@pytest.fixture(scope="module")
def page(directory: Path) -> str:
    return render(read_results(directory))


def kept(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "compare.json").read_text())
    return found


def edited(directory: Path, tmp_path: Path, edit: Edit) -> str:
    """The page of the comparison after a change of its JSON."""
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    found = kept(copy)
    edit(found)
    (copy / "compare.json").write_text(json.dumps(found))
    return render(read_results(copy))


def test_the_page_has_every_log_policy_and_arm(directory: Path, page: str) -> None:
    found = parse(page)
    assert [section["id"] for section in found.tags("section") if section.get("class") == "log"] == ["log-1", "log-2"]
    chips = [button["data-policy"] for button in found.tags("button")]
    assert chips == ["default", "unpaced", "litellm_adaptive", "static_mix", "hindsight_lp"]
    names = {row[0].strip() for row in found.rows}
    assert set(chips) <= names
    assert {f"{number}  {arm}" for number, arm in enumerate(ARM_IDS, 1)} <= names


def test_every_box_has_a_figure_and_every_figure_a_box(page: str) -> None:
    boxes = [box["id"] for box in parse(page).tags("div") if box.get("class") == "plot"]
    figures = figures_of(page)
    assert boxes == list(figures)
    assert len(boxes) == 2 * (1 + 3 + 2 + 1 + 2 + 2 + 4)
    assert all(figure["data"] for figure in figures.values())


def test_a_policy_has_one_colour_on_all_plots_of_all_logs(page: str) -> None:
    colours: dict[str, set[str]] = {}
    for figure in figures_of(page).values():
        for trace in figure["data"]:
            if "meta" in trace:
                colours.setdefault(trace["meta"], set()).add(trace["line"]["color"])
    assert set(colours) >= {"default", "unpaced", "litellm_adaptive", "static_mix", "hindsight_lp"}
    assert all(len(found) == 1 for found in colours.values())
    assert len({next(iter(found)) for found in colours.values()}) == len(colours)


def test_the_page_loads_nothing(page: str) -> None:
    found = parse(page)
    loading = {"src", "srcset", "data", "poster", "action", "xlink:href", "background"}
    assert [element for element in found.elements if loading & set(element[1])] == []
    assert found.tags("link") == []
    assert all((link["href"] or "").startswith("#") for link in found.tags("a"))
    assert re.search(r"url\(|@import", found.texts["style"]) is None
    policies = [meta["content"] or "" for meta in found.tags("meta") if meta.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'")


def test_the_page_fits_a_phone_and_paper(page: str) -> None:
    found = parse(page)
    viewports = [meta["content"] for meta in found.tags("meta") if meta.get("name") == "viewport"]
    assert viewports == ["width=device-width, initial-scale=1"]
    assert "@media print" in found.texts["style"]
    assert len(found.tags("table")) == sum("scroll" in (box.get("class") or "") for box in found.tags("div"))


def test_the_tables_say_what_the_json_says(directory: Path, page: str) -> None:
    found, rows = kept(directory), parse(page).rows
    for log in ("first", "second"):
        runs = [run for run in found["runs"] if run["log"] == log]
        budgets = sorted({run["budget_usd"] for run in runs})
        for policy in {run["policy"] for run in runs}:
            mine = [run for run in runs if run["policy"] == policy]
            rewards = [np.mean([run["reward_mean"] for run in mine if run["budget_usd"] == b]) for b in budgets]
            tops = [(row[0].strip(), [cell.split("\n")[0] for cell in row[1:3]]) for row in rows]
            cells = rows[tops.index((policy, [reward(value) for value in rewards]))]
            if policy != "default":
                shown = [interval(d["low"], d["high"]) for d in differences(found, log, policy, budgets)]
                assert [cell.split("\n")[-1] for cell in cells[1:]] == shown
                means = [signed(d["mean"]) for d in differences(found, log, policy, budgets)]
                assert [cell.split("\n")[-2].split(" ")[0] for cell in cells[1:]] == means


def differences(found: dict[str, Any], log: str, policy: str, budgets: list[float]) -> list[dict[str, Any]]:
    """At every budget, then over all."""
    by_budget = {d["budget_usd"]: d for d in found["differences"] if d["log"] == log and d["policy"] == policy}
    return [by_budget[budget] for budget in [*budgets, None]]


def test_the_summary_counts_the_verdicts_from_the_side_of_the_default(directory: Path, page: str) -> None:
    found, rows = kept(directory), parse(page).rows
    summary = {row[0].strip(): row[1:] for row in rows[1:5]}
    assert set(summary) == {"unpaced", "litellm_adaptive", "static_mix", "hindsight_lp"}
    for policy, cells in summary.items():
        for log, cell in zip(("first", "second"), cells, strict=True):
            verdicts = [
                d["verdict"]
                for d in found["differences"]
                if d["log"] == log and d["policy"] == policy and d["budget_usd"] is not None
            ]
            counts = [verdicts.count(verdict) for verdict in ("worse", "even", "better")]
            assert cell.split("\n")[0] == " / ".join(map(str, counts))


def test_the_page_lists_where_other_routers_win(directory: Path, tmp_path: Path) -> None:
    def lose(found: dict[str, Any]) -> None:
        for difference in found["differences"]:
            if difference["policy"] == "unpaced":
                difference.update(mean=0.0123, low=0.0012, high=0.0234, verdict="better")

    html = edited(directory, tmp_path, lose)
    lines = re.findall(r"<li>(.*: unpaced at .*)</li>", html)
    budgets = [usd_per_thousand(budget) for budget in sorted({run["budget_usd"] for run in kept(directory)["runs"]})]
    assert [line.split(":")[0] for line in lines] == ["first", "second"]
    assert all(line.endswith("by up to +0.0123 [+0.0012, +0.0234]") for line in lines)
    assert sorted(usd for line in lines for usd in re.findall(r"\$[\d.]+", line)) == sorted(budgets)


def test_names_are_text_and_never_markup(directory: Path, tmp_path: Path) -> None:
    def rename(found: dict[str, Any]) -> None:
        for entry in [*found["runs"], *found["differences"], *found["detailed"]]:
            entry["log"] = HOSTILE if entry["log"] == "first" else entry["log"]
            entry["policy"] = HOSTILE if entry["policy"] == "unpaced" else entry["policy"]
        found["arms"][HOSTILE] = [{**arm, "arm_id": HOSTILE + arm["arm_id"]} for arm in found["arms"].pop("first")]
        found["left_out"] = [HOSTILE]
        found["provenance"]["command"] = HOSTILE

    html = edited(directory, tmp_path, rename)
    found = parse(html)
    assert found.tags("img") == []
    assert len(found.tags("script")) == 3
    assert [attributes for _, attributes in found.elements if "onerror" in attributes] == []
    assert HOSTILE in found.texts["h2"]
    assert found.texts["code"] == HOSTILE
    figures = figures_of(html)
    shown = [trace["name"] for figure in figures.values() for trace in figure["data"] if "name" in trace]
    assert [name for name in shown if "<" in name] == []
    assert any("&lt;img" in name for name in shown)


def test_the_page_says_how_it_was_made(page: str) -> None:
    text = parse(page).texts
    assert text["code"] == PROVENANCE.command
    for fact in ("2026-01-02", "0123abc-dirty", "0 to 1", "Python 3.11.7, numpy 2.4.6"):
        assert fact in text["dd"]


def test_without_the_default_there_are_no_differences_but_a_page(directory: Path, tmp_path: Path) -> None:
    def drop(found: dict[str, Any]) -> None:
        found["runs"] = [run for run in found["runs"] if run["policy"] != "default"]
        found["differences"] = []
        found["detailed"] = []
        found["provenance"] = None

    html = edited(directory, tmp_path, drop)
    assert "there are no paired differences" in html
    assert "did not record its command" in html
    assert len(figures_of(html)) == 2 * (1 + 3 + 2)


def test_accounts_that_are_gone_cost_the_plots_over_time_only(directory: Path, page: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    for path in [*(copy / "details").iterdir(), *(copy / "rewards").iterdir()]:
        path.unlink()
    html = render(read_results(copy))
    assert len(figures_of(html)) == 2 * (1 + 3 + 2)
    assert parse(html).rows == parse(page).rows


def test_rendering_changes_nothing_in_the_directory(directory: Path, tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    before = contents()
    assert write_page(directory, tmp_path / "page.html") == tmp_path / "page.html"
    assert contents() == before


def test_a_directory_without_a_comparison_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(NotAComparison, match=r"no compare\.json"):
        read_results(tmp_path)
    (tmp_path / "compare.json").write_text('{"runs": []}')
    with pytest.raises(NotAComparison, match="no runs"):
        read_results(tmp_path)
