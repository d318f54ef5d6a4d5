"""Scenarios by name, for any log: the four experiments of ParetoBandit (arXiv 2604.00136), and more of their kind.

Phases are thirds of the reported stretch. The arms are those that the paper's experiments are about, found by the part
they play: the dearest arm is cut to the price of a small model; the arm that gains most per dollar over the cheapest
one (the workhorse) drops to a reward of 0.75; the dearest arm but one joins late, with money to be tried with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bandit_router.core.frontier import concave_envelope
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.replay.scenario import STATIONARY, ArmChange, PriceChange, QualityChange, Scenario

FIRST_THIRD, SECOND_THIRD = 1 / 3, 2 / 3
PRICE_FACTOR = 0.1 / 5.625
"""0.10 USD per million tokens instead of 1.25 in and 10 out, on average."""

DROPPED_REWARD = 0.75
CHEAP_PART = 0.5
TRIAL_PART = 20.0
"""The money that a newcomer may be tried with, in mean costs of the workhorse's calls."""


def price_cut(log: FullLog) -> Scenario:
    """The dearest arm becomes cheap in the second third and dear again in the last."""
    arm_id = _by_cost(log)[-1]
    return Scenario(
        name="price_cut",
        changes=(PriceChange(FIRST_THIRD, arm_id, factor=PRICE_FACTOR), PriceChange(SECOND_THIRD, arm_id, factor=1.0)),
    )


def quality_drop(log: FullLog) -> Scenario:
    """The workhorse silently gets worse in the second third and recovers in the last."""
    arm_id = _workhorse(log)
    return Scenario(
        name="quality_drop",
        changes=(
            QualityChange(FIRST_THIRD, arm_id, level=DROPPED_REWARD),
            QualityChange(SECOND_THIRD, arm_id, factor=1.0),
        ),
    )


def arm_added(log: FullLog) -> Scenario:
    """The dearest arm but one is unknown until the second third."""
    return Scenario(name="arm_added", changes=(_joining(log),))


def cheap_arm_added(log: FullLog) -> Scenario:
    """The same arm joins at the same moment, at half of what the workhorse usually costs."""
    cheap = PriceChange(0, newcomer(log), mean_cost_usd=CHEAP_PART * _usual_usd(log))
    return Scenario(name="cheap_arm_added", changes=(cheap, _joining(log)))


def _joining(log: FullLog) -> ArmChange:
    return ArmChange(FIRST_THIRD, newcomer(log), "add", onboarding_usd=TRIAL_PART * _usual_usd(log))


def newcomer(log: FullLog) -> str:
    """The arm that joins late: the dearest but one."""
    return _by_cost(log)[-2:][0]


def traffic_shift(log: FullLog) -> Scenario:
    """Sources, in alphabetical order, come one third of the rows after the other."""
    sources, counts = np.unique(np.asarray(log.sources), return_counts=True)
    third = (np.cumsum(counts) - counts) * 3 // max(1, len(log))
    names = zip(third.tolist(), sources.tolist(), strict=True)
    groups: dict[int, list[str]] = {}
    for group, name in names:
        groups.setdefault(group, []).append(_literal(name))
    return Scenario(name="traffic_shift", traffic=tuple(tuple(group) for group in groups.values()))


NAMED: Mapping[str, Callable[[FullLog], Scenario]] = {
    "stationary": lambda _: STATIONARY,
    "price_cut": price_cut,
    "quality_drop": quality_drop,
    "arm_added": arm_added,
    "cheap_arm_added": cheap_arm_added,
    "traffic_shift": traffic_shift,
}
"""Scenarios by the name that the command takes."""


def _by_cost(log: FullLog) -> list[str]:
    return [log.arm_ids[column] for column in np.argsort(log.costs_usd.mean(axis=0), kind="stable").tolist()]


def _workhorse(log: FullLog) -> str:
    """The arm next to the cheapest on the envelope of mean cost and mean reward; the cheapest if it is alone there."""
    envelope = concave_envelope(log.costs_usd.mean(axis=0), log.scores.mean(axis=0))
    return log.arm_ids[envelope[:2][-1]]


def _usual_usd(log: FullLog) -> float:
    """Mean cost of the workhorse's calls."""
    return float(log.costs_usd[:, log.arm_ids.index(_workhorse(log))].mean())


def _literal(source: str) -> str:
    """The source as a pattern that matches nothing else."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in source)
