from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from bandit_router_sim.compare import comparison as comparison_module
from bandit_router_sim.compare.arms import ARM_LISTS, choose_arms
from bandit_router_sim.compare.comparison import Comparison, Plan, compare
from bandit_router_sim.compare.contexts import contexts_of, whitened
from bandit_router_sim.compare.intervals import Interval, paired_interval
from bandit_router_sim.compare.report import as_markdown, write_report
from bandit_router_sim.compare.tasks import Task, budgets_between, tasks_of
from bandit_router_sim.kept.cache import LINES, Finished, ResultCache
from bandit_router_sim.kept.keys import digest_of
from bandit_router_sim.replay.setting import POLICIES
from tests.builders import generator
from tests.unit.sim.compare.compare_logs import make_material, mean_costs, with_other_outcomes

PLAN = Plan(
    policies=[POLICIES["default"]],
    peers=["litellm_adaptive"],
    references=["static_mix", "supervised_ridge"],
    budgets=2,
    seeds=2,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    directory = tmp_path_factory.mktemp("comparison")
    return compare([make_material(80)], PLAN, out_dir=directory), directory


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Tasks that are really run from now on."""
    ran: list[Task] = []
    run_task = comparison_module.run_task

    def counted(subject: Any, task: Task) -> Finished:
        ran.append(task)
        return run_task(subject, task)

    monkeypatch.setattr(comparison_module, "run_task", counted)
    return ran


def test_every_runner_meets_every_budget_and_order(done: tuple[Comparison, Path]) -> None:
    rows = done[0].rows
    places = {(row["policy"], row["budget_usd"], row["seed"]) for row in rows}
    assert len(rows) == len(places) == 4 * 2 * 2
    assert {row["kind"] for row in rows} == {"policy", "peer", "reference"}


def test_differences_are_the_paired_means_of_the_table(done: tuple[Comparison, Path]) -> None:
    comparison, _ = done
    for difference in comparison.differences:
        budgets = {row["budget_usd"] for row in comparison.rows} if difference.budget_usd is None else None

        def mean(policy: str, wanted: set[float]) -> float:
            found = [r["reward_mean"] for r in comparison.rows if r["policy"] == policy and r["budget_usd"] in wanted]
            return float(np.mean(found))

        wanted = budgets or {float(difference.budget_usd or 0.0)}
        expected = mean(difference.policy, wanted) - mean("default", wanted)
        assert difference.interval.mean == pytest.approx(expected, abs=1e-6)
        assert difference.interval.low <= difference.interval.mean <= difference.interval.high


def test_a_second_run_does_nothing_again(done: tuple[Comparison, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = count_runs(monkeypatch)
    again = compare([make_material(80)], PLAN, out_dir=done[1])
    assert ran == []
    assert again == done[0]


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(
    done: tuple[Comparison, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ResultCache(done[1])
    lines = (done[1] / LINES).read_text().splitlines(keepends=True)
    partial = ResultCache(tmp_path)
    for line in lines[:10]:
        key = json.loads(line)["key"]
        finished = cache.get(key)
        assert finished is not None
        partial.put(key, finished)
    with (tmp_path / LINES).open("a") as file:
        file.write(lines[10][:25])
    ran = count_runs(monkeypatch)
    again = compare([make_material(80)], PLAN, out_dir=tmp_path)
    assert len(ran) == len(lines) - 10
    assert again == done[0]


def test_a_key_changes_with_whatever_can_change_the_result() -> None:
    task = Task("reference", "knn", 1e-3, 0, 0.5)
    material = make_material(20)
    key = task.key(digest_of(material))
    others = [
        Task("reference", "static_mix", 1e-3, 0, 0.5),
        Task("reference", "knn", 2e-3, 0, 0.5),
        Task("reference", "knn", 1e-3, 1, 0.5),
        Task("reference", "knn", 1e-3, 0, 0.4),
        Task("peer", "knn", 1e-3, 0, 0.5, version="2"),
    ]
    assert key == task.key(digest_of(make_material(20)))
    assert key not in {other.key(digest_of(material)) for other in others}
    assert key != task.key(digest_of(with_other_outcomes(material, np.array([3]))))


def test_progress_ends_at_the_number_of_runs(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    plan = Plan(policies=[], peers=[], references=["static_mix"], budgets=2, seeds=2)
    compare([make_material(20)], plan, out_dir=tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_rows_beyond_the_most_are_left_out_in_the_same_way_every_time(tmp_path: Path) -> None:
    plan = Plan(policies=[], peers=[], references=["static_mix"], budgets=1, seeds=1, max_rows=30)
    first, second = (compare([make_material(90)], plan, out_dir=tmp_path / str(i)) for i in range(2))
    assert first == second
    assert first.rows[0]["n"] == 15


def test_peers_that_cannot_run_are_named_with_the_reason(tmp_path: Path) -> None:
    plan = Plan(policies=[], peers=["paretobandit_warm"], references=["static_mix"], budgets=1, seeds=1)
    comparison = compare([make_material(20)], plan, out_dir=tmp_path)
    assert [row["policy"] for row in comparison.rows] == ["static_mix"]
    assert "synthetic: paretobandit_warm" in comparison.left_out[0]
    assert "Left out: synthetic: paretobandit_warm" in as_markdown(comparison)


def test_the_report_is_the_comparison_in_three_formats(done: tuple[Comparison, Path], tmp_path: Path) -> None:
    comparison, _ = done
    write_report(comparison, tmp_path)
    table = parquet.read_table(tmp_path / "compare.parquet").to_pylist()
    assert table == comparison.rows
    found = json.loads((tmp_path / "compare.json").read_text())
    assert found["runs"] == comparison.rows
    assert len(found["differences"]) == len(comparison.differences)
    text = (tmp_path / "compare.md").read_text()
    assert "## synthetic" in text
    assert "*static_mix*" in text
    assert "rough guide" in text


def test_budgets_lie_strictly_between_the_cheapest_and_the_dearest_arm() -> None:
    material = make_material(200)
    means = mean_costs(material)
    budgets = budgets_between(material.log, 5)
    assert means.min() < budgets[0] < budgets[-1] < means.max()
    ratios = np.diff(np.log(budgets))
    assert np.allclose(ratios, ratios[0], atol=0.02)


def test_tasks_come_order_by_order() -> None:
    tasks = tasks_of([("reference", "knn", None, "")], [1.0, 2.0], seeds=2, learn_share=0.5)
    assert [(task.seed, task.budget_usd) for task in tasks] == [(0, 1.0), (0, 2.0), (1, 1.0), (1, 2.0)]


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    source, truth, covered, trials = generator(5), 0.03, 0, 200
    found = []
    for _ in range(trials):
        queries = source.normal(0, 0.3, size=(1, 60))
        orders = source.normal(0, 0.05, size=(6, 1))
        cells = truth + queries + orders + source.normal(0, 0.2, size=(6, 60))
        present = source.random((6, 60)) < 0.5
        interval = paired_interval(cells, present, resamples=200)
        covered += interval.low <= truth <= interval.high
        found.append(interval)
    assert 0.90 <= covered / trials <= 0.99
    spread = float(np.std([interval.mean for interval in found]))
    width = float(np.mean([interval.high - interval.low for interval in found]))
    assert width == pytest.approx(2 * 1.96 * spread, rel=0.15), "nor are they wider than they need to be"


def test_an_interval_does_not_look_at_absent_cells() -> None:
    values = np.array([[1.0, np.nan, 3.0]])
    interval = paired_interval(values, np.isfinite(values))
    assert interval.mean == 2.0
    assert 1.0 <= interval.low <= interval.high <= 3.0


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "even")])
def test_a_verdict_is_where_the_interval_lies(low: float, high: float, verdict: str) -> None:
    assert Interval(0.0, low, high).verdict == verdict


def test_arms_are_chosen_on_the_envelope_over_the_range_of_costs_and_below_it() -> None:
    material = make_material(100)
    assert choose_arms(material.log, count=4) == ("small", "medium", "large")


def test_the_fixed_lists_have_eight_to_twelve_arms() -> None:
    assert all(8 <= len(arms) == len(set(arms)) <= 12 for arms in ARM_LISTS.values())


def test_contexts_start_with_the_intercept_and_the_length() -> None:
    material = make_material(10)
    contexts = contexts_of(material)
    assert contexts.shape == (10, 2 + 32)
    assert (contexts[:, 0] == 1.0).all()
    assert np.allclose(contexts[:, 2:], material.embeddings, atol=1e-6)


def test_whitened_contexts_have_unit_variance_and_an_intercept() -> None:
    scaled = whitened(contexts_of(make_material(50)))
    assert (scaled[:, 0] == 1.0).all()
    assert np.allclose(scaled[:, 2:].std(axis=0), 1.0)
    assert np.allclose(scaled[:, 1], 0.0), "a coordinate that never varies stays at zero"
