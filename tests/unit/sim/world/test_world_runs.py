from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from bandit_router.adapters.memory.ledger import MemoryLedger
from bandit_router_sim.cli_world import world
from bandit_router_sim.world.failure import DEFAULT_STEPS, Violation, WorldFailure
from bandit_router_sim.world.run import play, play_all
from bandit_router_sim.world.world import run_world

SEED = 11
STEPS = 60


def break_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(self: MemoryLedger, asked: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr(MemoryLedger, "commit", commit)


def run_command(*args: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(world)
    result = CliRunner().invoke(app, args)
    return result.exit_code, result.output


def test_the_same_seed_gives_the_same_trace_byte_for_byte() -> None:
    first, second = (run_world(SEED, steps=STEPS, keep_trace=True) for _ in range(2))
    assert len(first.trace) > STEPS
    assert first == second


def test_a_trace_does_not_depend_on_the_process_it_is_made_in() -> None:
    code = f"from bandit_router_sim.world.world import run_world; print(run_world({SEED}, steps={STEPS}).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert digests == {run_world(SEED, steps=STEPS).digest}


def test_other_seeds_give_other_traces() -> None:
    assert len({run_world(seed, steps=20).digest for seed in range(5)}) == 5


def test_a_failure_names_its_seed_its_step_and_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    break_commits(monkeypatch)
    failure = next(f for f in (play(seed, STEPS) for seed in range(20)) if isinstance(f, WorldFailure))
    assert 0 < failure.step <= STEPS
    assert f"bandit-router-sim world --seed {failure.seed} --steps {STEPS}" in str(failure)
    assert "KeyError" in failure.what
    assert failure.tail
    again = play(failure.seed, STEPS)
    assert str(again) == str(failure)


def test_a_failure_at_the_usual_number_of_steps_needs_no_option_to_be_repeated() -> None:
    failure = WorldFailure(seed=5, step=3, steps=DEFAULT_STEPS, what="a rule", tail=())
    assert failure.command == "bandit-router-sim world --seed 5"


def test_failures_travel_between_processes() -> None:
    failure = WorldFailure(seed=5, step=3, steps=9, what="a rule", tail=("one", "two"))
    assert str(pickle.loads(pickle.dumps(failure))) == str(failure)


def test_worlds_in_several_processes_are_those_in_one() -> None:
    seeds = range(3)
    assert list(play_all(seeds, steps=20, jobs=2)) == list(play_all(seeds, steps=20))


def test_the_command_prints_the_seeds_it_has_used() -> None:
    code, text = run_command("--seeds", "2", "--from", "7", "--steps", "10")
    assert code == 0
    assert "seeds 7 to 8" in text
    assert "2 worlds without a failure" in text
    _, fresh = run_command("--seeds", "1", "--steps", "5")
    assert "seeds " in fresh


def test_the_command_fails_with_the_failed_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    break_commits(monkeypatch)
    code, text = run_command("--seeds", "10", "--from", "0")
    assert code == 1
    assert "repeat with: bandit-router-sim world --seed " in text
    assert "failed seeds: " in text


def test_the_command_plays_one_seed_and_prints_all_of_it_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run_command("--seed", "3", "--steps", "10", "--trace")
    result = run_world(3, steps=10, keep_trace=True)
    assert code == 0
    assert result.digest in text
    assert all(line in text for line in result.trace)


def test_worlds_count_what_has_happened_in_them() -> None:
    results = [run_world(seed) for seed in (SEED, SEED + 1)]
    for name in ("routed", "refused", "reports", "effects"):
        assert sum(getattr(result, name) for result in results) > 0


def test_a_violation_is_no_assertion_that_optimised_code_would_skip() -> None:
    assert not issubclass(Violation, AssertionError)
