"""The study of priors on small logs: what is set aside stays aside, and slopes and tables say what they should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bandit_router.core.prior_codec import encode_prior
from bandit_router_sim.cli import app
from bandit_router_sim.cli_prior import budgets_of
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.prior_study.derived import (
    BATTLES_PER_PROMPT,
    PRIORS,
    adversarial,
    derived_battles,
    from_scores,
    halves_of,
    pool_prior,
)
from bandit_router_sim.prior_study.saved import Curve
from bandit_router_sim.prior_study.tables import curve_table
from bandit_router_sim.replay.material import prepare
from bandit_router_sim.replay.order import random_of
from bandit_router_sim.replay.setting import Material, Policy, Setting
from bandit_router_sim.replay.sweep import replay_one

ARMS = ("bad", "good")


def small_material(count: int = 160) -> Material:
    random = random_of(3)
    scores = np.column_stack([random.uniform(0.0, 0.3, count), random.uniform(0.7, 1.0, count)])
    names = tuple(str(number) for number in range(count))
    nothing = np.full((count, 2), np.nan)
    log = FullLog(
        name="small",
        arm_ids=ARMS,
        query_ids=names,
        prompts=tuple(f"question number {name}" for name in names),
        sources=("",) * count,
        splits=("",) * count,
        scores=scores,
        costs_usd=np.tile([1e-5, 2e-5], (count, 1)),
        input_tokens=nothing,
        output_tokens=nothing,
    )
    return prepare(log)


def test_what_is_set_aside_is_never_replayed() -> None:
    material = small_material()
    halves = halves_of(material)
    aside, replayed = set(halves.aside.log.query_ids), set(halves.replayed.log.query_ids)
    assert not aside & replayed
    assert aside | replayed == set(material.log.query_ids)
    assert np.array_equal(halves_of(material).aside.embeddings, halves.aside.embeddings)


def test_the_better_score_wins_a_derived_battle_and_equal_ones_tie() -> None:
    scores = np.array([[0.1, 0.9, 0.9], [0.5, 0.5, 0.5]])
    table = derived_battles(scores, ("a", "b", "c"), random_of(1))
    assert len(table) == 2 * BATTLES_PER_PROMPT
    assert np.all(table.first != table.second)
    better = scores[table.prompt, table.first] - scores[table.prompt, table.second]
    assert np.array_equal(np.sign(better), 2.0 * table.wins - 1.0)


def test_every_prior_knows_the_arms_and_the_adversarial_one_the_wrong_way_round() -> None:
    aside = halves_of(small_material()).aside
    for name, make in PRIORS.items():
        assert (make is None) == (name == "none")
        assert make is None or set(make(aside)) == set(ARMS)
    right, wrong = from_scores(aside), adversarial(aside)
    assert right["good"].mean[0] > right["bad"].mean[0]
    assert wrong["good"].mean[0] < wrong["bad"].mean[0]


@pytest.mark.parametrize("make", [from_scores, adversarial])
def test_a_replay_with_a_prior_starts_from_it(make: object) -> None:
    halves = halves_of(small_material())
    data = encode_prior(pool_prior(make(halves.aside), halves.replayed))  # type: ignore[operator]
    setting = Setting(Policy(budget_policy="none"), 1.0, 0, learn_share=0.0)
    with_it, without = (replay_one(halves.replayed, setting, prior=prior) for prior in (data, None))
    first = slice(0, 12)
    gained = with_it.trace.rewards[first].mean() - without.trace.rewards[first].mean()
    assert gained > 0.05 if make is from_scores else gained < -0.05
    assert with_it.trace.rewards[-40:].mean() > 0.75  # also the wrong prior is left behind


def curve(regret: np.ndarray) -> Curve:
    return Curve(regret, reward_mean=0.5, reward_early=0.4, spend_usd_mean=1e-5)


def test_slopes_never_rise_and_arrival_is_the_first_that_is_low_enough() -> None:
    regret = np.concatenate([np.full(300, 0.5), np.full(300, 0.1)])
    noisy = curve(regret + random_of(4).normal(scale=0.2, size=600))
    assert np.all(np.diff(noisy.slopes()) <= 0.0)
    assert noisy.arrival(0.15) == pytest.approx(300, abs=40)
    assert curve(regret).final_slope() == pytest.approx(0.1)
    assert curve(regret).arrival(0.1) == 300
    assert curve(np.full(600, 0.1)).arrival(0.1) == 0
    assert curve(np.full(600, 0.5)).arrival(0.1) is None


def test_the_table_gives_each_prior_its_share_of_the_decisions() -> None:
    slow = curve(np.concatenate([np.full(300, 0.5), np.full(300, 0.1)]))
    soon = curve(np.concatenate([np.full(75, 0.5), np.full(525, 0.1)]))
    table = curve_table({("log", 1e-5): {"none": slow, "scores": soon, "bad": curve(np.ones(600))}})
    assert "| none | 0.4000 | 0.5000 | 1.000 | 300 | 1.00 |" in table
    assert "| scores | 0.4000 | 0.5000 | 1.000 | 75 | 0.25 |" in table
    assert "| bad | 0.4000 | 0.5000 | 1.000 | never | – |" in table


def test_budgets_lie_between_the_cheapest_and_the_dearest_arm() -> None:
    assert budgets_of(small_material(), 1) == pytest.approx([2**0.5 * 1e-5])


def test_the_command_writes_its_tables(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"prompt {n}", "model_a": "x", "model_b": "y", "winner": ("a", "b", "tie")[n % 3]} for n in range(60)
    ]
    battles = tmp_path / "battles.jsonl"
    battles.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "study.md"
    result = CliRunner().invoke(app, ["prior-study", "--battles", str(battles), "--splits", "2", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "Bradley-Terry without prompts" in out.read_text(encoding="utf-8")
