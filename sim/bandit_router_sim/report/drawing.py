"""What all figures have in common: plain axes, sizes that follow their box, names that cannot be markup."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from bandit_router_sim.report.numbers import PER_REQUESTS, tick
from bandit_router_sim.report.styles import GRID, INK, MUTED, Style

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SPEND_AXIS = f"USD per {PER_REQUESTS:,} requests"


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A plot, its title, a sentence on how to read it, and its height: `tall`, `medium` or `small`."""

    title: str
    note: str
    plot: go.Figure
    height: str = "small"


def figure(traces: Sequence[Any], *, x: Mapping[str, Any], y: Mapping[str, Any], **layout: Any) -> go.Figure:
    """Traces on two axes. The page has the legends; `x` and `y` add to the axes' layout."""
    return go.Figure(
        list(traces),
        {
            "template": "none",
            "autosize": True,
            "showlegend": False,
            "margin": {"l": 8, "r": 20, "t": 8, "b": 8},
            "font": {"family": FONT, "size": 12, "color": INK},
            "hoverlabel": {"bgcolor": "white", "font": {"family": FONT, "size": 12, "color": INK}, "align": "left"},
            "hovermode": "closest",
            "xaxis": {**_AXIS, **x},
            "yaxis": {**_AXIS, **y},
            **layout,
        },
    )


_AXIS = {
    "automargin": True,
    "gridcolor": GRID,
    "linecolor": MUTED,
    "showline": True,
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": MUTED,
    "ticklen": 4,
    "tickfont": {"size": 11, "color": MUTED},
}


def titled(text: str, **axis: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": text, "standoff": 6, "font": {"size": 12, "color": MUTED}}, **axis}


def log_money_axis(low: float, high: float, *, text: str = SPEND_AXIS) -> dict[str, Any]:
    """A logarithmic axis of money from `low` to `high`, with ticks such as $0.1, $0.3, $1 at a distance to read."""
    ends = [math.log10(low), math.log10(high)]
    steps = next(steps for decades, steps in _TICKS if ends[1] - ends[0] <= decades)
    powers = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    values = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    return titled(
        text, type="log", range=ends, tickvals=values, ticktext=[tick(value) for value in values], tickangle=0
    )


_TICKS = ((0.5, (1, 1.5, 2, 3, 5, 7)), (1.5, (1, 2, 5)), (3.5, (1, 3)), (math.inf, (1,)))
"""By the decades that an axis spans, at which multiples of powers of ten it has ticks."""


def label(name: str) -> str:
    """A name as plotly shows it literally: its labels understand a little HTML."""
    return html.escape(name, quote=False)


def line_of(style: Style, *, width: float | None = None) -> dict[str, Any]:
    """The line of a policy."""
    return {"color": style.colour, "dash": style.dash, "width": style.width if width is None else width}


def marker_of(style: Style) -> dict[str, Any]:
    """The marker of a policy."""
    return {"color": style.colour, "symbol": style.symbol, "size": 9, "line": {"width": 1.5, "color": style.colour}}


def script_json(figures: Mapping[str, go.Figure]) -> str:
    """The figures by id as JSON that cannot end the script element it stands in."""
    text = "{" + ",".join(f"{json.dumps(key)}:{plot.to_json()}" for key, plot in figures.items()) + "}"
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
