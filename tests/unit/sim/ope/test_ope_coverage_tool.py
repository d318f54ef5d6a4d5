from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bandit_router_sim.logs.canonical import write_full_log
from bandit_router_sim.ope.coverage import MEASURED_BELOW, main, write_measured
from bandit_router_sim.ope.coverage_measure import measure
from bandit_router_sim.ope.scenarios import scenarios, simple_contexts
from tests.unit.sim.ope.ope_logs import full_log


def test_contexts_need_no_encoder() -> None:
    log = replace(full_log(4), prompts=("a", "bb", "ccc", "dddd"), sources=("x/1", "x/2", "y/1", "y/1"))
    contexts = simple_contexts(log)
    assert (contexts[:, 0] == 1.0).all()
    assert (np.diff(contexts[:, 1]) > 0.0).all()
    assert contexts[:, 2:].tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]


def test_sources_under_one_root_are_told_apart_by_their_parts() -> None:
    contexts = simple_contexts(replace(full_log(3), sources=("x/1", "x/2", "x/2")))
    assert contexts.shape[1] == 4


def test_a_measurement_repeats() -> None:
    scenario = scenarios(full_log(100))[0]
    assert measure(scenario, logs=3, rows=250) == measure(scenario, logs=3, rows=250)


def test_the_command_puts_its_tables_below_the_mark(tmp_path: Path) -> None:
    data, page = tmp_path / "made_up.jsonl", tmp_path / "page.md"
    write_full_log(full_log(100), data)
    page.write_text("what it is\n" + MEASURED_BELOW + "old numbers\n")
    main(["--data", str(data), "--logs", "2", "--rows", "250", "--scenario", "uniform", "--write", str(page)])
    text = page.read_text()
    assert text.startswith("what it is\n")
    assert "old numbers" not in text
    assert "## made_up: 100 queries, 3 arms; 2 logs of 250 decisions" in text
    assert text.count("| uniform log, price 1 |") == 2 + 2


def test_a_page_without_the_mark_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("something else\n")
    with pytest.raises(ValueError, match="no line"):
        write_measured(page, "numbers")
    assert page.read_text() == "something else\n"
