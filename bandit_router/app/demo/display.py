"""How the demo looks in a terminal."""

from __future__ import annotations

from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from bandit_router.app.demo.tally import Tally, Verdict
from bandit_router.core.money import nusd_to_usd

_BAR_WIDTH = 40
_LINES_WITHOUT_TERMINAL = 10


class Progress:
    """A live panel on a terminal; on a pipe, a line at every tenth of the way."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._console = console
        self._tally = tally
        self._live = Live(self._panel(), console=console, refresh_per_second=8, transient=True)
        self._next_line = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self) -> None:
        """Show the tally as it is now."""
        if self._console.is_terminal:
            self._live.update(self._panel())
        elif self._tally.done >= self._next_line:
            self._console.print(self._line())
            self._next_line += max(1, self._tally.requests // _LINES_WITHOUT_TERMINAL)

    def _line(self) -> str:
        tally = self._tally
        spent, limit = nusd_to_usd(tally.billed_nusd), nusd_to_usd(tally.limit_nusd)
        return (
            f"{tally.done:>5}/{tally.requests} requests  spent {spent:.4f} of {limit:.4f} USD  "
            f"pace {tally.pace:.2f}  mean reward {tally.reward_mean:.4f}"
        )

    def _panel(self) -> RenderableType:
        tally = self._tally
        bars = Table.grid(padding=(0, 2))
        bars.add_row("requests", _bar(tally.done, tally.requests), f"{tally.done} of {tally.requests}")
        spent, limit = nusd_to_usd(tally.billed_nusd), nusd_to_usd(tally.limit_nusd)
        bars.add_row("money", _bar(tally.billed_nusd, tally.limit_nusd), f"{spent:.4f} of {limit:.4f} USD")
        for arm_id, count in sorted(tally.chosen.items()):
            bars.add_row(arm_id, _bar(count, max(1, tally.decisions)), f"{count / max(1, tally.decisions):.1%}")
        facts = (
            f"mean reward {tally.reward_mean:.4f}   spend against even pace {tally.pace:.2f}   "
            f"price of money {tally.price_per_usd:.1f} reward per USD   refusals {tally.refusals}"
        )
        return Group(bars, facts)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """The closing table."""
    tally, budget = verdict.tally, verdict.budget
    table = Table(title=f"{tally.done} requests under {nusd_to_usd(budget.limit_nusd):.4f} USD")
    table.add_column("who chooses")
    table.add_column("mean reward", justify="right")
    table.add_column("USD per request", justify="right")
    spend = nusd_to_usd(budget.spent_nusd) / max(1, tally.done)
    table.add_row("bandit-router", f"{tally.reward_mean:.4f}", f"{spend:.6f}", style="bold")
    for yardstick in verdict.yardsticks:
        table.add_row(yardstick.name, f"{yardstick.reward_mean:.4f}", f"{yardstick.spend_usd_mean:.6f}")
    console.print(table)
    law = "holds" if verdict.budget_law_holds else "IS BROKEN"
    console.print(
        f"spent {nusd_to_usd(budget.spent_nusd):.6f} of {nusd_to_usd(budget.limit_nusd):.6f} USD "
        f"({budget.spent_nusd / max(1, budget.limit_nusd):.1%}), {tally.refusals} refusals, "
        f"{tally.done / verdict.elapsed_s:.0f} decisions per second; the budget law {law}"
    )


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=min(done, max(1, total)), width=_BAR_WIDTH)
