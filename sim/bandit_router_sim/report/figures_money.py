"""Plots of what money bought: reward at realised spend, and how the budget was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from bandit_router.core.frontier import concave_envelope
from bandit_router_sim.compare.comparison import BASELINE
from bandit_router_sim.compare.tasks import REFERENCE
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.report.drawing import Figure, figure, label, line_of, log_money_axis, marker_of, titled
from bandit_router_sim.report.numbers import PER_REQUESTS, percent, usd_per_thousand
from bandit_router_sim.report.results import Arm, LogResults
from bandit_router_sim.report.styles import HULL, INK, Style, arm_colours, is_light

HULL_POINTS = 120
_MARGIN = 1.35
"""Factor by which the axis of spend goes beyond the outermost points."""
_REWARD_MARGIN = 0.05


def reward_at_spend(log: LogResults, styles: Mapping[str, Style]) -> Figure:
    """Mean reward over what was really spent, one point per policy and budget, with arms and their static mixes."""
    curves = [_curve(log, name, styles[name]) for name in reversed(log.policies)]
    low, high = _reward_range(log)
    axis = titled("mean reward", range=[low, high])
    plot = figure([*_hull(log), *_arms(log.arms), *curves], x=log_money_axis(*_spend_range(log)), y=axis)
    note = (
        "Each point is one budget, at the money really spent; up and to the left is better. Grey area: what fixed "
        "mixes of arms reach without looking at the query. Numbered points are the arms alone."
    )
    return Figure("Reward at realised spend", " ".join([note, *_below(log, low)]), plot, "tall")


def use_of_budget(log: LogResults, styles: Mapping[str, Style]) -> list[Figure]:
    """Utilisation, refusals, and what would have been overspent."""
    shown = [
        ("Share of the budget spent", "utilisation", "Dashed: all of it."),
        ("Requests refused", "refused", "Refused because no money was left for the choice."),
        ("Overspend, had nobody stopped it", "overspend", "By how much the policy's own choices pass the budget."),
    ]
    return [Figure(title, note, _over_budgets(log, styles, field)) for title, field, note in shown]


def envelope(arms: Sequence[Arm]) -> list[int]:
    """Positions of the arms that good static mixes consist of, from the cheapest up."""
    costs, rewards = _means_of(arms)
    return concave_envelope(costs, rewards)


def _means_of(arms: Sequence[Arm]) -> tuple[FloatArray, FloatArray]:
    return np.asarray([arm.cost_usd for arm in arms]), np.asarray([arm.reward for arm in arms])


def _curve(log: LogResults, name: str, style: Style) -> go.Scatter:
    points = [(budget_usd, log.means[name, budget_usd]) for budget_usd in log.budgets_usd]
    return go.Scatter(
        x=[means.spend_usd * PER_REQUESTS for _, means in points],
        y=[means.reward for _, means in points],
        text=[f"budget {usd_per_thousand(b)} · {percent(means.utilisation)} spent" for b, means in points],
        hovertemplate="reward %{y:.4f} at $%{x:.3g} per 1,000<br>%{text}",
        name=label(name),
        meta=name,
        mode="lines+markers",
        line=line_of(style),
        marker=marker_of(style),
    )


def _hull(log: LogResults) -> list[go.Scatter]:
    """The best static mix at each spend; below the cheapest arm a part of the requests is refused."""
    if not log.arms:
        return []
    costs, rewards = _means_of(log.arms)
    corners = envelope(log.arms)
    low, high = _spend_range(log)
    spend = np.union1d(np.geomspace(low, high, HULL_POINTS) / PER_REQUESTS, costs[corners])
    mixes = np.interp(spend, np.append(0.0, costs[corners]), np.append(0.0, rewards[corners]))
    area = go.Scatter(
        x=spend * PER_REQUESTS,
        y=mixes,
        name="best static mix of arms",
        mode="lines",
        line={"color": HULL, "width": 1.5},
        fill="tozeroy",
        fillcolor="rgba(140, 149, 159, 0.13)",
        hoverinfo="skip",
    )
    return [area]


def _arms(arms: Sequence[Arm]) -> list[go.Scatter]:
    if not arms:
        return []
    colours = arm_colours(len(arms))
    order = sorted(range(len(arms)), key=lambda index: arms[index].cost_usd)
    shown = [arms[index] for index in order]
    points = go.Scatter(
        x=[arm.cost_usd * PER_REQUESTS for arm in shown],
        y=[arm.reward for arm in shown],
        text=[f"{number}" for number in range(1, len(shown) + 1)],
        customdata=[label(arm.arm_id) for arm in shown],
        hovertemplate="%{customdata}<br>reward %{y:.4f} at $%{x:.3g} per 1,000<extra>arm</extra>",
        name="arms",
        mode="markers+text",
        textfont={"size": 10, "color": ["#1b1f24" if is_light(colour) else "white" for colour in colours]},
        marker={"color": colours, "symbol": "circle", "size": 17, "line": {"width": 1.5, "color": "white"}},
    )
    return [points]


def _spend_range(log: LogResults) -> tuple[float, float]:
    """Ends of the axis of spend, in USD per 1,000 requests: all points, and a margin."""
    spends_usd = [*(means.spend_usd for means in log.means.values()), *(arm.cost_usd for arm in log.arms)]
    positive = [spend_usd * PER_REQUESTS for spend_usd in spends_usd if spend_usd > 0.0] or [1.0]
    return min(positive) / _MARGIN, max(positive) * _MARGIN


def _reward_range(log: LogResults) -> tuple[float, float]:
    """Ends of the axis of reward, from what is worth telling apart: the references, the default, arms in good mixes.

    A policy that spends its money at once and refuses the rest would press all others into one line.
    """
    anchors = [name for name, kind in log.kinds.items() if kind == REFERENCE or name == BASELINE] or log.policies
    rewards = [log.means[name, budget_usd].reward for name in anchors for budget_usd in log.budgets_usd]
    rewards += [log.arms[index].reward for index in envelope(log.arms)] if log.arms else []
    highest = max([*rewards, *(means.reward for means in log.means.values())])
    margin = _REWARD_MARGIN * max(highest - min(rewards), 0.01)
    return max(0.0, min(rewards) - 2.0 * margin), highest + margin


def _below(log: LogResults, low: float) -> list[str]:
    """What lies below the axis, in words."""
    arms = [f"arm {arm.arm_id} ({arm.reward:.2f})" for arm in log.arms if arm.reward < low]
    policies = {
        name: [
            f"{usd_per_thousand(budget_usd)} ({log.means[name, budget_usd].reward:.2f})"
            for budget_usd in log.budgets_usd
            if log.means[name, budget_usd].reward < low
        ]
        for name in log.policies
    }
    places = [f"{name} at budget {', '.join(budgets)}" for name, budgets in policies.items() if budgets]
    return [f"Below the plot: {'; '.join([*arms, *places])}."] if arms or places else []


def _over_budgets(log: LogResults, styles: Mapping[str, Style], field: str) -> go.Figure:
    traces = [
        go.Scatter(
            x=[budget_usd * PER_REQUESTS for budget_usd in log.budgets_usd],
            y=[getattr(log.means[name, budget_usd], field) for budget_usd in log.budgets_usd],
            hovertemplate="%{y:.1%} at a budget of $%{x:.3g} per 1,000",
            name=label(name),
            meta=name,
            mode="lines+markers",
            line=line_of(styles[name]),
            marker={**marker_of(styles[name]), "size": 7},
        )
        for name in reversed(log.routers)
    ]
    ticks = [budget_usd * PER_REQUESTS for budget_usd in log.budgets_usd]
    texts = [usd_per_thousand(budget_usd) for budget_usd in log.budgets_usd]
    budget_axis = titled("budget per 1,000 requests", type="log", tickvals=ticks, ticktext=texts)
    whole = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1}
    shapes = [{**whole, "line": {"color": INK, "dash": "dash", "width": 1}}] if field == "utilisation" else []
    return figure(traces, x=budget_axis, y={"tickformat": ".0%", "rangemode": "tozero"}, shapes=shapes)
