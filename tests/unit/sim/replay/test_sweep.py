from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from bandit_router_sim.kept.cache import LINES, Finished, ResultCache
from bandit_router_sim.replay import sweep as sweep_module
from bandit_router_sim.replay.cluster import spread
from bandit_router_sim.replay.files import write_results
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.scenario import ArmChange, PriceChange, Scenario, TenantShare
from bandit_router_sim.replay.setting import POLICIES, Material, Setting
from bandit_router_sim.replay.sweep import digest_for_replay, key_of_replay, settings_of, sweep
from tests.unit.sim.compare.compare_logs import make_material

CUT = Scenario(name="cut", changes=(PriceChange(0.5, "large", factor=0.1),))


@pytest.fixture(scope="module")
def material() -> Material:
    return make_material(60)


@pytest.fixture(scope="module")
def settings() -> list[Setting]:
    return settings_of([POLICIES["default"]], [2e-4, 1e-3], seeds=2, learn_share=0.5, scenario=CUT)


def same(one: Finished, other: Finished) -> bool:
    arrays = {**one.details, "reward": one.rewards}, {**other.details, "reward": other.rewards}
    equal = [np.array_equal(arrays[0][name], arrays[1][name], equal_nan=True) for name in arrays[0]]
    return one.row == other.row and arrays[0].keys() == arrays[1].keys() and all(equal)


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    """Settings that are really replayed from now on."""
    ran: list[Setting] = []
    replay_one = sweep_module.replay_one

    def counted(material: Material, setting: Setting) -> object:
        ran.append(setting)
        return replay_one(material, setting)

    monkeypatch.setattr(sweep_module, "replay_one", counted)
    return ran


def test_a_sweep_that_was_cut_off_goes_on_where_it_stopped_and_ends_equal(
    material: Material, settings: list[Setting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dict(sweep(material, settings, jobs=1))
    assert len(list(sweep(material, settings[:3], cache=ResultCache(tmp_path), jobs=1))) == 3
    lines = (tmp_path / LINES).read_text().splitlines(keepends=True)
    (tmp_path / LINES).write_text("".join(lines[:2]) + lines[2][:25])
    ran = count_runs(monkeypatch)
    resumed = dict(sweep(material, settings, cache=ResultCache(tmp_path), jobs=1))
    assert ran == settings[2:]
    assert all(same(resumed[setting], whole[setting]) for setting in settings)


def test_processes_and_a_single_one_agree(material: Material, settings: list[Setting]) -> None:
    serial = dict(sweep(material, settings, jobs=1))
    parallel = dict(sweep(material, settings, jobs=2))
    assert all(same(parallel[setting], serial[setting]) for setting in settings)


def test_a_key_changes_with_the_setting_its_scenario_and_the_log(material: Material) -> None:
    digest = digest_for_replay(material)
    setting = Setting(POLICIES["default"], 1e-3, 0)
    others = [
        Setting(POLICIES["unpaced"], 1e-3, 0),
        Setting(POLICIES["default"], 2e-3, 0),
        Setting(POLICIES["default"], 1e-3, 1),
        Setting(POLICIES["default"], 1e-3, 0, scenario=Scenario(reward_delay=1)),
        Setting(POLICIES["default"], 1e-3, 0, scenario=Scenario(changes=(ArmChange(3, "large", "drain"),))),
        Setting(POLICIES["default"], 1e-3, 0, scenario=Scenario(changes=(ArmChange(4, "large", "drain"),))),
    ]
    keys = {key_of_replay(other, digest) for other in [setting, *others]}
    assert len(keys) == len(others) + 1
    assert key_of_replay(setting, digest) == key_of_replay(setting, digest_for_replay(make_material(60)))
    assert key_of_replay(setting, digest) != key_of_replay(setting, digest_for_replay(make_material(60, seed=1)))


def test_results_are_a_row_per_run_and_a_row_per_request(material: Material, tmp_path: Path) -> None:
    shares = (TenantShare("acme", 0.5), TenantShare("beta", 0.5, limit_usd=1e-4))
    plan = Scenario(name="poor", tenants=shares)
    settings = settings_of([POLICIES["default"]], [1e-3], seeds=2, learn_share=0.5, scenario=plan)
    runs = [(material.log, setting, finished) for setting, finished in sweep(material, settings, jobs=1)]
    write_results(runs, tmp_path)
    rows = parquet.read_table(tmp_path / "replay.parquet").to_pylist()
    assert rows == json.loads((tmp_path / "replay.json").read_text())["runs"]
    requests = parquet.read_table(tmp_path / "requests.parquet").to_pylist()
    assert len(requests) == sum(row["n"] for row in rows) == 60
    of_first = [request for request in requests if request["seed"] == 0]
    assert np.mean([request["reward"] for request in of_first]) == pytest.approx(rows[0]["reward_mean"], abs=1e-6)
    assert sum(request["arm_id"] is None for request in of_first) == rows[0]["refusals"] > 0
    refused = runs[0][2].details["arm"] == REFUSED
    assert [request["arm_id"] is None for request in of_first] == refused.tolist()
    assert {request["tenant_id"] for request in of_first} == {"acme", "beta"}
    place = material.log.query_ids.index(of_first[0]["query_id"])
    assert place == runs[0][2].details["row"][0]


def test_a_run_in_which_every_request_is_refused_is_written_like_the_others(material: Material, tmp_path: Path) -> None:
    plan = Scenario(changes=tuple(ArmChange(0, arm_id, "remove") for arm_id in material.log.arm_ids))
    settings = settings_of([POLICIES["default"]], [1e-3], seeds=1, learn_share=0.5, scenario=plan)
    settings += settings_of([POLICIES["default"]], [1e-3], seeds=1, learn_share=0.5)
    write_results([(material.log, setting, done) for setting, done in sweep(material, settings, jobs=1)], tmp_path)
    requests = parquet.read_table(tmp_path / "requests.parquet").to_pylist()
    assert [request["arm_id"] is None for request in requests] == [True] * 30 + [False] * 30


def test_nothing_to_do_starts_no_workers() -> None:
    assert list(spread(abs, [], jobs=2, backend="ray")) == []


def test_work_comes_back_with_its_position() -> None:
    assert dict(spread(abs, [-3, -1, 2], jobs=1)) == {0: 3, 1: 1, 2: 2}
