"""The page: sections of figures and tables, put into one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from bandit_router_sim.compare.comparison import BASELINE
from bandit_router_sim.compare.report import FEWEST_ORDERS
from bandit_router_sim.report import figures_choice, figures_money, figures_time, tables
from bandit_router_sim.report.drawing import Figure, script_json
from bandit_router_sim.report.legend import ColourKey, PolicyKey, arm_keys, budget_keys, policy_keys
from bandit_router_sim.report.results import LogResults, Results, read_results
from bandit_router_sim.report.styles import Style, styles_of
from bandit_router_sim.report.tables import Table

REPORT_HTML = "report.html"
_PACKAGE = "bandit_router_sim.report"


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A figure with the id of its box."""

    box_id: str
    figure: Figure


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Figures that are read together, under one heading, with the entries of the colours they use."""

    title: str
    figures: Sequence[Placed]
    keys: Sequence[ColourKey] = ()

    @property
    def note(self) -> str:
        """What all figures say, if there are several and they say the same."""
        notes = {placed.figure.note for placed in self.figures}
        return notes.pop() if len(notes) == 1 < len(self.figures) else ""

    @property
    def columns(self) -> str:
        """Class of the grid: by how many columns it has on paper."""
        if any(placed.figure.height == "medium" for placed in self.figures):
            return "n2"
        return f"n{min(len(self.figures), 3)}"


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """One log."""

    anchor: str
    log: LogResults
    keys: Sequence[PolicyKey]
    groups: Sequence[Group]
    paired: Table
    money: Table
    arms: Table


def write_page(directory: Path, out: Path | None = None) -> Path:
    """Render the comparison in `directory` to `out`, or to `report.html` beside it. Returns where.

    Raises:
        NotAComparison: the directory does not hold one.
    """
    path = out or directory / REPORT_HTML
    path.write_text(render(read_results(directory)), encoding="utf-8")
    return path


def render(results: Results) -> str:
    """The page as HTML."""
    styles = styles_of(results.kinds)
    sections = [_section(log, styles, f"log-{number}") for number, log in enumerate(results.logs, 1)]
    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        baseline=BASELINE,
        few_orders=min(log.orders for log in results.logs) < FEWEST_ORDERS,
        keys=policy_keys(results.kinds, styles),
        left_out=results.left_out,
        losses=tables.losses(results),
        provenance=_provenance(results.provenance),
        sections=sections,
        summary=tables.summary_table(results),
        tally=tables.router_tally(results),
        figures=Markup(script_json(_plots(sections))),  # noqa: S704 - escaped for scripts by script_json
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library's own code
        script=_own("page.js"),
        style=_own("page.css"),
    )


def _own(name: str) -> Markup:
    """A file of this package that goes into the page as it is."""
    return Markup(resources.files(_PACKAGE).joinpath("templates", name).read_text("utf-8"))  # noqa: S704


def _section(log: LogResults, styles: Mapping[str, Style], anchor: str) -> Section:
    return Section(
        anchor=anchor,
        log=log,
        keys=policy_keys(log.kinds, styles),
        groups=[group for group in _groups(log, styles, anchor) if group.figures],
        paired=tables.paired_table(log),
        money=tables.money_table(log),
        arms=tables.arms_table(log),
    )


def _groups(log: LogResults, styles: Mapping[str, Style], anchor: str) -> list[Group]:
    arms, budgets = arm_keys(log), budget_keys(log.budgets_usd)
    contents: list[tuple[str, list[Figure], Sequence[ColourKey]]] = [
        ("Reward for money", [figures_money.reward_at_spend(log, styles)], arms),
        ("Use of the budget", figures_money.use_of_budget(log, styles), ()),
        ("Which arms served", figures_choice.arm_shares(log), arms),
        ("Price of money over time, first order", figures_time.price_over_time(log), budgets),
        ("Spend over time, first order", figures_time.spend_over_time(log, styles), ()),
        ("Regret over time, first order", figures_time.regret_over_time(log, styles), ()),
        (
            "Propensities and calibration, first order",
            [*figures_choice.propensities(log), *figures_choice.calibrations(log, styles)],
            budgets,
        ),
    ]
    return [
        Group(title, [Placed(f"{anchor}-{letter}{n}", found) for n, found in enumerate(figures, 1)], keys)
        for letter, (title, figures, keys) in zip("abcdefg", contents, strict=True)
    ]


def _plots(sections: Sequence[Section]) -> dict[str, go.Figure]:
    return {
        placed.box_id: placed.figure.plot
        for section in sections
        for group in section.groups
        for placed in group.figures
    }


def _provenance(kept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of everything known of how the comparison came about."""
    if not kept:
        return []
    seeds = list(kept["seeds"])
    return [
        ("command", str(kept["command"])),
        ("date", str(kept["date"])),
        ("commit", str(kept["commit"]) or "not from a git checkout"),
        ("seeds of the orders", f"{seeds[0]} to {seeds[-1]}" if seeds else "none"),
        ("share of each order to learn on", f"{kept['learn_share']:g}"),
        ("most queries of a log", str(kept["max_rows"] or "all")),
        ("versions", ", ".join(f"{name} {version}" for name, version in kept["versions"].items())),
    ]
