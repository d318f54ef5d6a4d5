"""What is in a full-information log, in numbers: for people, and for the head of every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

import numpy as np

from bandit_router.core.frontier import concave_envelope
from bandit_router_sim.logs.decisions import BoolArray
from bandit_router_sim.logs.full import FloatArray, FullLog

MAX_GROUPS_SHOWN = 8
TABLE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class ArmDescription:
    """One arm: how many queries it answered with a score, and means over those; NaN where it has no values."""

    arm_id: str
    answered: int
    priced: int
    mean_score: float
    mean_cost_usd: float
    min_cost_usd: float
    max_cost_usd: float


@dataclass(frozen=True, slots=True)
class MixPoint:
    """A corner of what fixed mixes of arms can reach: mean cost and mean score of one arm."""

    arm_id: str
    mean_cost_usd: float
    mean_score: float


@dataclass(frozen=True, slots=True)
class Description:
    """`complete_rows`: queries that every arm answered with score and cost.

    The oracle takes the best score of each query, at the cheapest arm that has it, over arms whose cost is known, or
    over all arms where the log has no costs. `static_mix` compares arms on `mix_rows` common queries: those that all
    priced arms answered; 0 where there is none, and each arm's own queries are taken, which may differ in difficulty.
    """

    name: str
    rows: int
    complete_rows: int
    arms: tuple[ArmDescription, ...]
    oracle_score: float
    oracle_cost_usd: float
    static_mix: tuple[MixPoint, ...]
    mix_rows: int
    sources: Mapping[str, int]
    splits: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON: NaN is None."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def describe(log: FullLog) -> Description:
    """The description of `log`."""
    oracle_score, oracle_cost_usd = _oracle(log)
    static_mix, mix_rows = _static_mix(log)
    return Description(
        name=log.name,
        rows=len(log),
        complete_rows=int((np.isfinite(log.scores) & np.isfinite(log.costs_usd)).all(axis=1).sum()),
        arms=tuple(_arm(log, k) for k in range(len(log.arm_ids))),
        oracle_score=oracle_score,
        oracle_cost_usd=oracle_cost_usd,
        static_mix=static_mix,
        mix_rows=mix_rows,
        sources=dict(Counter(log.sources).most_common()),
        splits=dict(Counter(log.splits).most_common()),
    )


def render_table(description: Description) -> str:
    """The description as plain text, arms from the cheapest up, those without costs last."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f"{description.name}: {description.rows} queries", title_justify="left")
    for heading in ("arm", "answered", "mean score", "mean USD", "min USD", "max USD", "in static mix"):
        table.add_column(heading, justify="left" if heading == "arm" else "right", overflow="fold")
    corners = {point.arm_id for point in description.static_mix}
    for arm in sorted(description.arms, key=lambda arm: (np.isnan(arm.mean_cost_usd), arm.mean_cost_usd)):
        costs = (_money(usd) for usd in (arm.mean_cost_usd, arm.min_cost_usd, arm.max_cost_usd))
        mark = "yes" if arm.arm_id in corners else ""
        table.add_row(_escaped(arm.arm_id), str(arm.answered), _score(arm.mean_score), *costs, mark)
    output = StringIO()
    console = Console(file=output, width=TABLE_WIDTH, color_system=None)
    console.print(table)
    console.print(_summary(description), markup=False, highlight=False)
    return output.getvalue()


def _arm(log: FullLog, k: int) -> ArmDescription:
    scores = log.scores[:, k]
    answered = np.isfinite(scores)
    costs = log.costs_usd[answered & np.isfinite(log.costs_usd[:, k]), k]
    return ArmDescription(
        arm_id=log.arm_ids[k],
        answered=int(answered.sum()),
        priced=len(costs),
        mean_score=_mean(scores[answered]),
        mean_cost_usd=_mean(costs),
        min_cost_usd=float(costs.min()) if len(costs) else np.nan,
        max_cost_usd=float(costs.max()) if len(costs) else np.nan,
    )


def _oracle(log: FullLog) -> tuple[float, float]:
    """Mean score and mean cost over the queries that have an answer to choose."""
    has_costs = bool(np.isfinite(log.costs_usd).any())
    known: BoolArray = np.isfinite(log.scores) & (np.isfinite(log.costs_usd) if has_costs else True)
    some = known.any(axis=1)
    scores = np.where(known, log.scores, -np.inf)[some]
    best = scores.max(axis=1, initial=-np.inf)
    costs = np.where(scores == best[:, None], log.costs_usd[some], np.inf).min(axis=1, initial=np.inf)
    return _mean(best), _mean(costs)


def _static_mix(log: FullLog) -> tuple[tuple[MixPoint, ...], int]:
    """The corners, cheapest first, and the number of common queries that they were measured on."""
    known: BoolArray = np.isfinite(log.scores) & np.isfinite(log.costs_usd)
    priced = np.flatnonzero(known.any(axis=0))
    if not len(priced):
        return (), 0
    common: BoolArray = np.asarray(known[:, priced].all(axis=1))
    use = known & common[:, None] if common.any() else known
    costs = np.asarray([log.costs_usd[use[:, k], k].mean() for k in priced])
    scores = np.asarray([log.scores[use[:, k], k].mean() for k in priced])
    corners = concave_envelope(costs, scores)
    points = tuple(MixPoint(log.arm_ids[priced[i]], float(costs[i]), float(scores[i])) for i in corners)
    return points, int(common.sum())


def _summary(description: Description) -> str:
    basis = f"{description.mix_rows} common queries" if description.mix_rows else "each arm's own queries"
    return "\n".join(
        [
            f"answered by all arms, with costs: {description.complete_rows}",
            f"oracle: score {_score(description.oracle_score)} at {_money(description.oracle_cost_usd)} USD",
            f"static mix measured on {basis}",
            f"sources: {_groups(description.sources)}",
            f"splits: {_groups(description.splits)}",
        ]
    )


def _groups(counts: Mapping[str, int]) -> str:
    shown = [f"{group or '(none)'} {count}" for group, count in list(counts.items())[:MAX_GROUPS_SHOWN]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _mean(values: FloatArray | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _score(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _money(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value
