"""The frontier as one self-contained page."""

from __future__ import annotations

import plotly.graph_objects as go

from bandit_router_sim.tune.budget import QualityOfMoney


def as_html(found: QualityOfMoney) -> str:
    """Quality against USD per request with 95 % intervals; the script is inside, nothing is loaded."""
    points = found.points
    figure = go.Figure(
        go.Scatter(
            x=[point.usd for point in points],
            y=[point.quality for point in points],
            error_y={
                "symmetric": False,
                "array": [point.high - point.quality for point in points],
                "arrayminus": [point.quality - point.low for point in points],
            },
            mode="lines+markers",
            name="quality",
        )
    )
    figure.update_xaxes(title="USD per request", type="log")
    figure.update_yaxes(title="quality (mean reward)")
    figure.update_layout(title=f"{found.log}: quality of money ({found.method})", template="plotly_white")
    html: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return html
