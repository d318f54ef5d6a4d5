"""Experiments of three phases with a budget for each: every phase is a window of its own.

With one budget for all phases, what is spent in one is another's money, so the reward of a phase alone says little.
Windows begin one request after phases where the stretch does not divide by three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bandit_router_sim.experiments.runs import Task

PHASES = 3
OF_THREE_PHASES = ("price_cut", "quality_drop")
"""The experiments whose phases are of equal length."""


def with_a_window_by_phase(tasks: Sequence[Task]) -> list[Task]:
    """Those of OF_THREE_PHASES, with a third of the money in every phase."""
    return [
        replace(task, setting=replace(task.setting, scenario=replace(task.setting.scenario, windows=PHASES)))
        for task in tasks
        if task.experiment in OF_THREE_PHASES
    ]
