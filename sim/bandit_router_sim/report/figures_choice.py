"""Plots of the choices: which arms served, with what probability, and whether what was expected came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from bandit_router_sim.logs.full import FloatArray, IndexArray
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.report.drawing import Figure, figure, label, log_money_axis, titled
from bandit_router_sim.report.numbers import NBSP, PER_REQUESTS, usd_per_thousand
from bandit_router_sim.report.results import Account, LogResults
from bandit_router_sim.report.series import Calibration, calibration, distribution
from bandit_router_sim.report.styles import INK, MUTED, Style, arm_colours, budget_colours

_FEWEST = 20
"""Fewer served requests than these are not binned."""


def arm_shares(log: LogResults) -> list[Figure]:
    """Who served the requests: a bar per policy, a plot per budget; what a bar lacks of the whole was refused."""
    if not log.arms:
        return []
    return [
        Figure(
            f"Budget {usd_per_thousand(budget_usd)}",
            "Share of the requests, from the cheapest arm (dark) to the dearest (light). What a bar lacks was refused.",
            _shares_plot(log, budget_usd),
            "medium",
        )
        for budget_usd in log.budgets_usd
    ]


def propensities(log: LogResults) -> list[Figure]:
    """How likely the choices were that were made, a line per budget."""
    figures = []
    for name in log.policies:
        found = {b: a for b in log.budgets_usd if (a := log.accounts.get((name, b))) and "propensities" in a.details}
        if not found:
            continue
        colours = dict(zip(log.budgets_usd, budget_colours(len(log.budgets_usd)), strict=True))
        traces = [_distribution_line(account, b, colours[b]) for b, account in found.items() if len(_served(account))]
        axis = titled("probability of the arm chosen", type="log", dtick=1, tickformat="~g")
        plot = figure(traces, x=axis, y={"tickformat": ".0%", "range": [0, 1.02]})
        note = "Share of the requests whose choice had at most this probability. What rises far left was exploration."
        figures.append(Figure(f"Propensities of {name}", note, plot, "medium"))
    return figures


def calibrations(log: LogResults, styles: Mapping[str, Style]) -> list[Figure]:
    """Realised against expected reward and cost, for policies that say what they expect."""
    names = [name for name in log.policies if _pooled(log, name, "expected_rewards") is not None]
    if not names:
        return []
    note = f"Ten equal groups of requests by what was expected of the chosen arm, all budgets, 95{NBSP}% bars. "
    rewards = _calibration_plot(log, names, styles, "expected_rewards")
    costs = _calibration_plot(log, names, styles, "expected_costs_usd")
    return [
        Figure("Calibration of reward", note + "On the dashed line expectation and outcome agree.", rewards, "medium"),
        Figure("Calibration of cost", note + "Above the dashed line bills exceed expectation.", costs, "medium"),
    ]


def _shares_plot(log: LogResults, budget_usd: float) -> go.Figure:
    names = list(reversed(log.policies))
    order = sorted(range(len(log.arms)), key=lambda index: log.arms[index].cost_usd)
    colours = arm_colours(len(order))
    traces = [
        go.Bar(
            y=[label(name) for name in names],
            x=[log.means[name, budget_usd].arm_shares[index] for name in names],
            orientation="h",
            name=label(log.arms[index].arm_id),
            hovertemplate="%{y}: %{x:.1%}",
            marker={"color": colour, "line": {"color": "white", "width": 0.5}},
        )
        for index, colour in zip(order, colours, strict=True)
    ]
    return figure(
        traces,
        x={"tickformat": ".0%", "range": [0, 1], "tickvals": [0.0, 0.5, 1.0]},
        y={"ticks": "", "tickfont": {"size": 11, "color": INK}, "showgrid": False},
        barmode="stack",
        bargap=0.25,
    )


def _served(account: Account) -> IndexArray:
    chosen = account.details.get("chosen")
    served: IndexArray = np.flatnonzero(np.asarray(chosen) != REFUSED) if chosen is not None else np.zeros(0, np.int64)
    return served


def _distribution_line(account: Account, budget_usd: float, colour: str) -> go.Scatter:
    values, shares = distribution(_values(account.details["propensities"])[_served(account)])
    return go.Scatter(
        x=values.astype(np.float32),
        y=shares.astype(np.float32),
        name=f"budget {usd_per_thousand(budget_usd)}",
        hovertemplate="%{y:.1%} at most %{x:.3f}",
        mode="lines",
        line={"color": colour, "width": 2, "shape": "hv"},
    )


def _pooled(log: LogResults, name: str, field: str) -> tuple[FloatArray, FloatArray, IndexArray] | None:
    """Expected and realised values of the served requests of all budgets, and which request each was."""
    parts: list[tuple[FloatArray, FloatArray, IndexArray]] = []
    for budget_usd in log.budgets_usd:
        account = log.accounts.get((name, budget_usd))
        if account is None or field not in account.details:
            continue
        served = _served(account)
        outcomes = account.rewards if field == "expected_rewards" else account.details["costs_usd"]
        parts.append((_values(account.details[field])[served], _values(outcomes)[served], served))
    if sum(len(part[0]) for part in parts) < _FEWEST:
        return None
    expected, realised, requests = zip(*parts, strict=True)
    return np.concatenate(expected), np.concatenate(realised), np.concatenate(requests)


def _values(array: npt.ArrayLike) -> FloatArray:
    return np.asarray(array, dtype=np.float64)


def _calibration_plot(log: LogResults, names: Sequence[str], styles: Mapping[str, Style], field: str) -> go.Figure:
    is_money = field == "expected_costs_usd"
    factor = PER_REQUESTS if is_money else 1.0
    found = [(name, calibration(*pooled)) for name in names if (pooled := _pooled(log, name, field)) is not None]
    traces = [_agreement([curve for _, curve in found], factor)]
    traces += [_calibration_line(name, styles[name], curve, factor) for name, curve in found]
    if is_money:
        expected, realised = (_positive([getattr(c, side) * factor for _, c in found]) for side in _SIDES)
        return figure(
            traces,
            x=log_money_axis(*expected, text="expected USD per 1,000"),
            y=log_money_axis(*realised, text="realised"),
        )
    return figure(traces, x=titled("expected reward"), y=titled("realised reward"))


_SIDES = ("expected", "realised")
_MARGIN = 1.6


def _positive(values: Sequence[FloatArray]) -> tuple[float, float]:
    """Ends of a logarithmic axis that holds the positive ones of the values, with a margin."""
    together = np.concatenate(values)
    shown = together[together > 0.0]
    return (float(shown.min()) / _MARGIN, float(shown.max()) * _MARGIN) if len(shown) else (0.1, 10.0)


def _agreement(curves: Sequence[Calibration], factor: float) -> go.Scatter:
    values = np.concatenate([np.concatenate([curve.expected, curve.realised]) for curve in curves]) * factor
    ends = [float(values[values > 0.0].min(initial=1.0)), float(values.max())]
    dashed = {"color": MUTED, "dash": "dash", "width": 1}
    return go.Scatter(x=ends, y=ends, mode="lines", line=dashed, hoverinfo="skip")


def _calibration_line(name: str, style: Style, curve: Calibration, factor: float) -> go.Scatter:
    return go.Scatter(
        x=curve.expected * factor,
        y=curve.realised * factor,
        error_y={"type": "data", "array": curve.half_width * factor, "thickness": 1, "width": 3},
        name=label(name),
        meta=name,
        hovertemplate="expected %{x:.3g}, realised %{y:.3g}",
        mode="markers+lines",
        line={"color": style.colour, "width": 1},
        marker={"color": style.colour, "symbol": style.symbol, "size": 7},
    )
