"""Whatever is wrong with what a command is given is said in a line that names it, never by a traceback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bandit_router_sim.cli import app
from bandit_router_sim.compare.tasks import budgets_between
from bandit_router_sim.logs.canonical import write_full_log
from bandit_router_sim.logs.cost_range import cost_range_usd
from bandit_router_sim.logs.full import FullLog
from tests.unit.sim.compare.compare_logs import make_material


def log_with_free_arms(free: int) -> FullLog:
    log = make_material(60).log
    costs_usd = log.costs_usd.copy()
    costs_usd[:, :free] = 0.0
    return replace(log, costs_usd=costs_usd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    write_full_log(make_material(60).log, path / "good.parquet")
    write_full_log(log_with_free_arms(len(make_material(60).log.arm_ids)), path / "free.parquet")
    log = make_material(60).log
    write_full_log(log.with_arms(log.arm_ids[:2]), path / "two.parquet")
    (path / "cut.parquet").write_bytes(b"PAR1")
    (path / "folder.jsonl").mkdir()
    (path / "prose.jsonl").write_text("dear diary\nnothing happened\n")
    (path / "decisions.jsonl").write_text('{"decision_id": "d1", "arms": []}\n')
    return path


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("replay good.parquet", "--limit-usd"),
        ("replay good.parquet --budget 0.001 --learner nope", "'nope' is not one of"),
        ("replay good.parquet --budget 0.001 --learner linucb:alpha=-1", "alpha must not be negative"),
        ("replay good.parquet --budget 0.001 --exploration igw:tau=0", "tau must be positive"),
        ("replay good.parquet --budget 0.001 --encoder nope", "encoder: must be"),
        ("replay good.parquet --budget 0.001 --arm nope", ": no arm 'nope'"),
        ("replay good.parquet --budget 0.001 --jobs 0", "at least 1"),
        ("replay good.parquet --budget 0.001 --json /nowhere/runs.json", "no directory '/nowhere'"),
        ("convert sprout good.parquet --out /nowhere/log.parquet", "no directory '/nowhere'"),
        ("convert generic good.parquet --out new.parquet", "'generic' is not one of"),
        ("replay good.parquet --budget 0.001 --json OUT", "is a directory, and a file is to be written"),
        ("replay good.parquet --budget 0.001 --out good.parquet", "is a file or in one"),
        ("compare good.parquet --out good.parquet", "is a file or in one"),
        ("experiments good.parquet --out good.parquet", "is a file or in one"),
        ("replay folder.jsonl --budget 0.001", "is a directory"),
        ("compare good.parquet --policies none --peers none --references none", "there is nothing to compare"),
        ("compare good.parquet good.parquet --out OUT", "'good' comes twice"),
        ("replay good.parquet good.parquet --budget 0.001", "'good' comes twice"),
        ("tune policy good.parquet --out /nowhere/tuned.yaml", "no directory '/nowhere'"),
        ("replay good.parquet --budget 1e12 --jobs 1", "tenant.limit_nusd: limit_nusd must be between"),
        ("replay good.parquet --limit-usd 0", "--limit-usd"),
        ("replay cut.parquet --budget 0.001", "not readable as parquet"),
        ("replay prose.jsonl --budget 0.001", "prose.jsonl: none of its 2 rows is a JSON object in UTF-8"),
        ("validate prose.jsonl --skip-bad", "prose.jsonl: none of its 2 rows is a JSON object in UTF-8"),
        ("ope prose.jsonl", "prose.jsonl: none of its 2 rows is a JSON object in UTF-8"),
        ("replay good.parquet decisions.jsonl --budget 0.001", "decisions.jsonl is a decision log and "),
        ("replay decisions.jsonl good.parquet --budget 0.001", "good.parquet is not; replay them apart"),
        ("tune budget cut.parquet", "not readable as parquet"),
        ("tune budget free.parquet", "no arm costs anything"),
        ("tune budget good.parquet --learner nope", "'nope' is not one of"),
        ("tune policy free.parquet", "no arm costs anything"),
        ("compare free.parquet --peers none --out OUT", "no arm costs anything"),
        ("tune counterfactual good.parquet --budget -1", "--budget"),
        ("experiments free.parquet --out OUT", "no arm costs anything"),
        ("experiments good.parquet --budget abc --out OUT", "numbers of USD"),
        ("experiments two.parquet --out OUT", "3 are needed"),
        ("ope good.parquet --budget -1", "must be positive"),
        ("prior-study", "give logs with costs, or --battles"),
        ("prior-study free.parquet", "no arm costs anything"),
    ],
)
def test_wrong_input_is_named(folder: Path, tmp_path: Path, command: str, said: str) -> None:
    words = [
        str(folder / word) if word.endswith((".parquet", ".jsonl")) else word.replace("OUT", str(tmp_path))
        for word in command.split()
    ]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    assert said in result.output
    assert not result.output.startswith('"')


def test_a_free_arm_does_not_set_the_least_budget() -> None:
    log = log_with_free_arms(1)
    paid = log.costs_usd.mean(axis=0)[1:]
    assert cost_range_usd(log) == (paid.min(), paid.max())
    assert np.all(np.array(budgets_between(log, 3)) > paid.min())
