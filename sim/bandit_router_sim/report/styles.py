"""What every policy, budget and arm looks like: the same on all plots of all logs, and told apart without colours.

Colours of policies have a contrast of at least 3:1 on white. Peers of one family share a hue; references are grey and
dashed, because they know what no router knows; markers differ where colours are near each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bandit_router_sim.compare.comparison import BASELINE
from bandit_router_sim.compare.tasks import REFERENCE

INK, MUTED, GRID, HULL = "#1b1f24", "#57606a", "#e3e6ea", "#8c959f"


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, marker and dash by plotly's names, and width in pixels."""

    colour: str
    symbol: str
    dash: str = "solid"
    width: float = 1.75


_KNOWN: Mapping[str, Style] = {
    BASELINE: Style("#0050a0", "circle", width=3.5),
    "unpaced": Style("#3a86c8", "circle-open"),
    "paretobandit": Style("#c2410c", "square"),
    "paretobandit_warm": Style("#d9661a", "square-open"),
    "paretobandit_as_shipped": Style("#8c2d04", "diamond"),
    "vw_squarecb": Style("#7b3fa0", "triangle-up"),
    "linucb": Style("#1b7f4b", "triangle-down"),
    "linucb_unpaced": Style("#43905f", "triangle-down-open"),
    "litellm_adaptive": Style("#b0307f", "cross"),
    "static_mix": Style("#7d858e", "diamond-open", "dash", 1.5),
    "supervised_ridge": Style("#6b737c", "x", "dot", 1.5),
    "knn": Style("#868e97", "triangle-up-open", "dot", 1.5),
    "hindsight_lp": Style("#24292f", "cross-open", "longdash", 1.5),
    "clairvoyant": Style("#4a5158", "hourglass-open", "dashdot", 1.5),
}
_SPARE = ("#0f766e", "#9f1239", "#5b5bd6", "#7c6a0a", "#a21caf", "#3f6212", "#b45309", "#155e75")
_SPARE_GREY = ("#5f676f", "#7a828a", "#3c4248")
_SYMBOLS = ("star", "pentagon", "hexagon", "star-open", "pentagon-open", "hexagon-open", "bowtie", "hourglass")
_SEQUENCE = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
"""Eight steps of viridis, dark to light."""
_LIGHTEST_LINE = 0.72
"""How far along the sequence lines may go before they are too faint on white."""


def styles_of(kinds: Mapping[str, str]) -> dict[str, Style]:
    """A style for every policy, by name; those without one of their own get spare ones in their order."""
    styles, spare = {}, 0
    for name, kind in kinds.items():
        if name in _KNOWN:
            styles[name] = _KNOWN[name]
            continue
        styles[name] = _spare(spare, is_reference=kind == REFERENCE)
        spare += 1
    return styles


def budget_colours(count: int) -> list[str]:
    """One per budget, dark for the smallest."""
    return _sampled(count, last=_LIGHTEST_LINE)


def arm_colours(count: int) -> list[str]:
    """One per arm in the order of their costs, dark for the cheapest."""
    return _sampled(count, last=1.0)


def _spare(index: int, *, is_reference: bool) -> Style:
    symbol = _SYMBOLS[(index + index // len(_SPARE)) % len(_SYMBOLS)]  # once round the colours, the next symbol
    if is_reference:
        return Style(_SPARE_GREY[index % len(_SPARE_GREY)], symbol, "dot", 1.5)
    return Style(_SPARE[index % len(_SPARE)], symbol)


def _sampled(count: int, *, last: float) -> list[str]:
    """`count` colours evenly spaced along the sequence, interpolated, up to the fraction `last` of it."""
    positions = [last * index / max(1, count - 1) * (len(_SEQUENCE) - 1) for index in range(count)]
    return [_between(_SEQUENCE, position) for position in positions]


def _between(sequence: Sequence[str], position: float) -> str:
    left = min(int(position), len(sequence) - 2)
    share = position - left
    pairs = zip(_rgb(sequence[left]), _rgb(sequence[left + 1]), strict=True)
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in pairs)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def is_light(colour: str) -> bool:
    """Whether dark text reads better on it (relative luminance, WCAG)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in _unit(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18


def _unit(colour: str) -> list[float]:
    return [value / 255.0 for value in _rgb(colour)]
