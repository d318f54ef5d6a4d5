"""`experiments` plays those who are asked for, and nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bandit_router_sim.cli import app
from bandit_router_sim.experiments.phases import OF_THREE_PHASES
from bandit_router_sim.experiments.runs import EXPERIMENTS
from bandit_router_sim.logs.canonical import write_full_log
from bandit_router_sim.peers.registry import PEERS
from tests.unit.sim.compare.compare_logs import ARM_IDS, make_material

ROWS = 60
PEER = "paretobandit"
RUNS = len(EXPERIMENTS) + len(OF_THREE_PHASES)
"""Of one player: all experiments, and those of three phases once more with a budget for each."""


def played_by(players: str, tmp_path: Path) -> tuple[list[str], str]:
    """Who has played, run by run, and what was printed."""
    if reason := PEERS[PEER].why_not(ARM_IDS):
        pytest.skip(reason)
    path, out = tmp_path / "synthetic.parquet", tmp_path / "out"
    write_full_log(make_material(ROWS).log, path)
    asked = ("--what", "changes", "--seeds", "1", "--budget", "6e-4", "--players", players, "--jobs", "1")
    result = CliRunner().invoke(app, ["experiments", str(path), *asked, "--out", str(out)])
    assert result.exit_code == 0, result.output
    lines = (out / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["policy"] for line in lines], result.output


def test_a_peer_alone_is_played_alone(tmp_path: Path) -> None:
    players, text = played_by(PEER, tmp_path)
    assert players == [PEER] * RUNS
    assert "peer's money" not in text


def test_the_default_alone_is_played_alone(tmp_path: Path) -> None:
    assert played_by("default", tmp_path)[0] == ["default"] * RUNS


def test_beside_a_peer_the_default_plays_with_its_money_too(tmp_path: Path) -> None:
    players, text = played_by(f"{PEER},default", tmp_path)
    assert players.count(PEER) == RUNS
    assert players.count("default") > RUNS
    assert "### Differences by phase, a budget for each phase" in text
    assert "### With the peer's money" in text
