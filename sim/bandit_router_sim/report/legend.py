"""Legends as small drawings on the page, so that every plot need not carry one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bandit_router_sim.compare.tasks import REFERENCE
from bandit_router_sim.report.numbers import usd_per_thousand
from bandit_router_sim.report.results import LogResults
from bandit_router_sim.report.styles import Style, arm_colours, budget_colours, is_light

_SHAPES: Mapping[str, str] = {
    "circle": "M17 6A4 4 0 1 1 9 6A4 4 0 1 1 17 6Z",
    "square": "M9.5 2.5H16.5V9.5H9.5Z",
    "diamond": "M13 1L18 6L13 11L8 6Z",
    "triangle-up": "M13 1.5L17.5 9.5H8.5Z",
    "triangle-down": "M13 10.5L17.5 2.5H8.5Z",
    "cross": "M11.5 1.5H14.5V4.5H17.5V7.5H14.5V10.5H11.5V7.5H8.5V4.5H11.5Z",
    "x": "M9.5 4L11 2.5L13 4.5L15 2.5L16.5 4L14.5 6L16.5 8L15 9.5L13 7.5L11 9.5L9.5 8L11.5 6Z",
    "hourglass": "M9 1.5H17L9 10.5H17Z",
    "bowtie": "M8.5 2V10L17.5 2V10Z",
    "star": "M13 1L14.5 4.5L18 4.8L15.3 7.1L16.1 10.8L13 8.8L9.9 10.8L10.7 7.1L8 4.8L11.5 4.5Z",
    "pentagon": "M13 1.5L17.3 4.6L15.7 9.9H10.3L8.7 4.6Z",
    "hexagon": "M13 1.5L17 3.8V8.2L13 10.5L9 8.2V3.8Z",
}
_DASHES = {"solid": "none", "dash": "5 3", "dot": "1.5 2.5", "longdash": "7 3", "dashdot": "5 2.5 1.5 2.5"}


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """A policy's entry: path of the marker in a box of 26 × 12, filled or hollow, on a line."""

    name: str
    colour: str
    shape: str
    is_hollow: bool
    dashes: str
    width: float
    is_reference: bool


@dataclass(frozen=True, slots=True)
class ColourKey:
    """An entry of an arm or a budget: a patch, with its number if it has one."""

    name: str
    colour: str
    number: str = ""
    is_light: bool = False


def policy_keys(kinds: Mapping[str, str], styles: Mapping[str, Style]) -> list[PolicyKey]:
    """Entries of the policies, in their order."""
    return [_policy_key(name, styles[name], is_reference=kind == REFERENCE) for name, kind in kinds.items()]


def arm_keys(log: LogResults) -> list[ColourKey]:
    """Entries of the arms, from the cheapest up."""
    arms = sorted(log.arms, key=lambda arm: arm.cost_usd)
    colours = arm_colours(len(arms))
    return [
        ColourKey(arm.arm_id, colour, str(number), is_light(colour))
        for number, (arm, colour) in enumerate(zip(arms, colours, strict=True), 1)
    ]


def budget_keys(budgets_usd: Sequence[float]) -> list[ColourKey]:
    """Entries of the budgets, from the smallest up."""
    pairs = zip(budgets_usd, budget_colours(len(budgets_usd)), strict=True)
    return [ColourKey(usd_per_thousand(budget_usd), colour) for budget_usd, colour in pairs]


def _policy_key(name: str, style: Style, *, is_reference: bool) -> PolicyKey:
    return PolicyKey(
        name=name,
        colour=style.colour,
        shape=_SHAPES[style.symbol.removesuffix("-open")],
        is_hollow=style.symbol.endswith("-open"),
        dashes=_DASHES[style.dash],
        width=style.width,
        is_reference=is_reference,
    )
