"""The study's tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bandit_router_sim.prior_study.foretold import Forecast
from bandit_router_sim.prior_study.saved import Curve


def forecast_table(forecasts: Mapping[str, Forecast]) -> str:
    """Mean over splits and the standard deviation between them."""
    rows = [(name, _spread(forecast.accuracies), _spread(forecast.losses)) for name, forecast in forecasts.items()]
    return markdown(("fitted", "accuracy on decided battles", "log loss, nats"), rows)


def curve_table(found: Mapping[tuple[str, float], Mapping[str, Curve]]) -> str:
    """Per log and budget: rewards with each prior, and decisions until the final slope without one is reached."""
    rows = []
    for (log, budget_usd), curves in found.items():
        plain = curves["none"]
        final = plain.final_slope()
        without = plain.arrival(final)
        for name, curve in curves.items():
            arrival = curve.arrival(final)
            rows.append(
                (
                    log,
                    f"{budget_usd:.3g}",
                    name,
                    f"{curve.reward_early:.4f}",
                    f"{curve.reward_mean:.4f}",
                    f"{curve.spend_usd_mean / budget_usd:.3f}",
                    "never" if arrival is None else str(arrival),
                    "–" if arrival is None or without is None else f"{arrival / max(1, without):.2f}",
                )
            )
    head = ("log", "USD per request", "prior", "first 100", "all", "utilisation", "decisions to arrive", "share")
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"
