"""Plots over the reported requests of the first order: the price of money, spend, regret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.report.drawing import Figure, figure, label, line_of, titled
from bandit_router_sim.report.numbers import usd_per_thousand
from bandit_router_sim.report.results import Account, LogResults
from bandit_router_sim.report.series import cumulative_regret, spent_share, thinned
from bandit_router_sim.report.styles import INK, Style, budget_colours

BEST = "hindsight_lp"
_PRICES = "prices_per_usd"
_COSTS = "costs_usd"
_REQUEST_AXIS = "request"
_MOST_REGRET = 3.0
"""Times the median regret of the policies that a plot goes up to."""


def price_over_time(log: LogResults) -> list[Figure]:
    """λ of every policy that had one, a line per budget."""
    figures = []
    for name in log.policies:
        accounts = {b: log.accounts[name, b] for b in log.budgets_usd if _has_price(log.accounts.get((name, b)))}
        if not accounts:
            continue
        colours = dict(zip(log.budgets_usd, budget_colours(len(log.budgets_usd)), strict=True))
        traces = [_price_line(account, budget_usd, colours[budget_usd]) for budget_usd, account in accounts.items()]
        plot = figure(
            traces,
            x=titled(_REQUEST_AXIS),
            y=titled("λ, reward per USD", type="log", dtick=1, tickformat="~s"),
        )
        note = "Reward that one more dollar would buy. Gaps: λ = 0, money is not what limits."
        figures.append(Figure(f"λ of {name}", note, plot))
    return figures


def spend_over_time(log: LogResults, styles: Mapping[str, Style]) -> list[Figure]:
    """Share of the money spent up to each request, a plot per budget."""
    return [
        Figure(
            f"Budget {usd_per_thousand(budget_usd)}",
            "Share of the budget spent up to each request. Dashed: an even pace.",
            _spend_plot(log, styles, budget_usd),
        )
        for budget_usd in log.budgets_usd
        if any(_COSTS in log.accounts[place].details for place in _places(log, budget_usd))
    ]


def regret_over_time(log: LogResults, styles: Mapping[str, Style]) -> list[Figure]:
    """Reward lost to the best assignment in hindsight, a plot per budget; none where that reference did not run."""
    return [
        Figure(
            f"Budget {usd_per_thousand(budget_usd)}",
            f"Reward lost up to each request against {BEST}, which knows every outcome beforehand. Lines that leave a "
            "plot at the top lose still more.",
            _regret_plot(log, styles, budget_usd, log.accounts[BEST, budget_usd].rewards),
        )
        for budget_usd in log.budgets_usd
        if (BEST, budget_usd) in log.accounts and _places(log, budget_usd)
    ]


def _places(log: LogResults, budget_usd: float) -> list[tuple[str, float]]:
    """Of the routers with an account, the default last, so that it is drawn above the others."""
    return [(name, budget_usd) for name in reversed(log.routers) if (name, budget_usd) in log.accounts]


def _has_price(account: Account | None) -> bool:
    return account is not None and bool(np.any(account.details.get(_PRICES, np.zeros(1)) > 0.0))


def _price_line(account: Account, budget_usd: float, colour: str) -> go.Scatter:
    prices = np.asarray(account.details[_PRICES], dtype=np.float64)
    positions = thinned(len(prices))
    shown = np.where(prices[positions] > 0.0, prices[positions], np.nan)
    return go.Scatter(
        x=(positions + 1).astype(np.float32),
        y=shown.astype(np.float32),
        name=f"budget {usd_per_thousand(budget_usd)}",
        hovertemplate="λ %{y:.3g} at request %{x}",
        mode="lines",
        line={"color": colour, "width": 2, "shape": "hv"},
    )


def _spend_plot(log: LogResults, styles: Mapping[str, Style], budget_usd: float) -> go.Figure:
    def share(account: Account) -> FloatArray | None:
        costs_usd = account.details.get(_COSTS)
        return None if costs_usd is None else spent_share(np.asarray(costs_usd), budget_usd=budget_usd)

    pace = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 1}
    shapes = [{**pace, "line": {"color": INK, "dash": "dash", "width": 1}}]
    traces = _lines(log, styles, budget_usd, share, "%{y:.1%} after request %{x}")
    axis = titled(_REQUEST_AXIS, range=[0, log.requests])
    return figure(traces, x=axis, y={"tickformat": ".0%", "rangemode": "tozero"}, shapes=shapes)


def _regret_plot(log: LogResults, styles: Mapping[str, Style], budget_usd: float, best: FloatArray) -> go.Figure:
    def regret(account: Account) -> FloatArray | None:
        return cumulative_regret(account.rewards, best)

    traces = _lines(log, styles, budget_usd, regret, "%{y:.1f} up to request %{x}")
    return figure(traces, x=titled(_REQUEST_AXIS), y=titled("reward lost", range=_regret_range(traces)))


def _regret_range(traces: Sequence[go.Scatter]) -> list[float]:
    """All of it, unless a few lose so much more than the others that these could not be told apart."""
    lowest = min(float(trace.y.min()) for trace in traces)
    ends = np.asarray([trace.y[-1] for trace in traces])
    highest = min(float(ends.max()), _MOST_REGRET * float(np.median(ends)))
    margin = 0.05 * max(highest - lowest, 1e-3)
    return [lowest - margin, highest + margin]


def _lines(
    log: LogResults,
    styles: Mapping[str, Style],
    budget_usd: float,
    series: Callable[[Account], FloatArray | None],
    hover: str,
) -> list[Any]:
    """A line per router whose account has that series (n,)."""
    traces = []
    for name, _ in _places(log, budget_usd):
        values = series(log.accounts[name, budget_usd])
        if values is None:
            continue
        positions = thinned(len(values))
        traces.append(
            go.Scatter(
                x=(positions + 1).astype(np.float32),
                y=values[positions].astype(np.float32),
                name=label(name),
                meta=name,
                hovertemplate=hover,
                mode="lines",
                line=line_of(styles[name]),
            )
        )
    return traces
