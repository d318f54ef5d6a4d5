"""The tables of the page. A difference is always a policy less the default, as in compare.json."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bandit_router_sim.compare.comparison import BASELINE
from bandit_router_sim.compare.tasks import REFERENCE
from bandit_router_sim.report.figures_money import envelope
from bandit_router_sim.report.figures_time import BEST
from bandit_router_sim.report.numbers import NBSP, interval, percent, reward, signed, usd_per_thousand
from bandit_router_sim.report.results import Difference, LogResults, Means, Results, has_baseline

MARKS = {"better": "▲", "worse": "▼", "even": "="}
TONES = {"better": "loses", "worse": "wins", "even": "ties"}
"""What a policy's verdict means for the default."""
MOST_LOSSES = 12
_DUST = 1e-6
"""Shares below it are rounding: of mixed choices, or of a solver."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, a smaller line below it, and a class of the style sheet."""

    text: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table. `is_reference`: it knows what no router knows."""

    name: str
    cells: Sequence[Cell]
    is_reference: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a head cell per column, the first for the names of the rows."""

    caption: str
    heads: Sequence[Cell]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Tally:
    """Budgets at which the default wins, ties and loses."""

    wins: int
    ties: int
    losses: int


def tally(differences: Sequence[Difference]) -> Tally:
    """Of differences at single budgets."""
    counts = Counter(TONES[difference.verdict] for difference in differences)
    return Tally(counts["wins"], counts["ties"], counts["loses"])


def summary_table(results: Results) -> Table | None:
    """Every other policy against every log; None where the default did not run."""
    logs = [log for log in results.logs if has_baseline(log)]
    names = [name for name in results.kinds if name != BASELINE]
    if not logs or not names:
        return None
    rows = [
        Row(name, [_against(log, name) for log in logs], results.kinds[name] == REFERENCE)
        for name in sorted(names, key=lambda name: results.kinds[name] == REFERENCE)
    ]
    caption = (
        f"Budgets at which {BASELINE} wins / ties / loses against each policy; below, the policy's mean reward less "
        f"that of {BASELINE} over all budgets, with its 95{NBSP}% interval. References, in italics, know what no "
        "router knows."
    )
    return Table(caption, [Cell("against"), *(Cell(log.name) for log in logs)], rows)


def router_tally(results: Results) -> Tally:
    """Of the default against all other routers, references left out, over logs and budgets."""
    return tally([difference for _, difference in _single(results)])


def losses(results: Results) -> list[str]:
    """Where routers beat the default, the largest first: at most MOST_LOSSES lines, and how many more there are.

    A line tells of one router on one log: at which budgets, and by how much where it is most.
    """
    lost: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for log, found in _single(results):
        if found.verdict == "better":
            lost[log.name, found.policy].append(found)
    ranked = sorted(lost.items(), key=lambda entry: -max(found.mean for found in entry[1]))
    lines = [_lost(log_name, policy, found) for (log_name, policy), found in ranked[:MOST_LOSSES]]
    more = len(ranked) - MOST_LOSSES
    return [*lines, f"and {more} more, marked ▲ in the tables below"] if more > 0 else lines


def paired_table(log: LogResults) -> Table:
    """Mean reward at every budget, and the paired difference from the default."""
    rows = [
        Row(
            name,
            [*(_rewarded(log, name, budget_usd) for budget_usd in log.budgets_usd), _overall(log, name)],
            log.kinds[name] == REFERENCE,
        )
        for name in log.policies
    ]
    caption = (
        f"Mean reward; below it, the difference from {BASELINE} with its 95{NBSP}% interval (orders and queries "
        f"resampled together). ▲ better than {BASELINE}, ▼ worse, = the interval contains 0."
    )
    return Table(caption, [Cell("policy"), *_budget_heads(log), Cell("all budgets", f"less {BASELINE}")], rows)


def money_table(log: LogResults) -> Table:
    """How every policy used every budget, and what it lost to hindsight."""
    rows = [
        Row(name, [_used(log, name, budget_usd) for budget_usd in log.budgets_usd], log.kinds[name] == REFERENCE)
        for name in log.policies
    ]
    caption = (
        "Share of the budget spent; below it, regret, which is mean reward lost per request to the best assignment in "
        "hindsight, and where there are any, requests refused and by how much spend would pass the budget if nobody "
        "stopped the policy."
    )
    return Table(caption, [Cell("policy"), *_budget_heads(log)], rows)


def arms_table(log: LogResults) -> Table:
    """The arms by cost, numbered as in the plots."""
    on_envelope = {log.arms[index].arm_id for index in envelope(log.arms)} if log.arms else set()
    arms = sorted(log.arms, key=lambda arm: arm.cost_usd)
    rows = [
        Row(
            f"{number}  {arm.arm_id}",
            [
                Cell(usd_per_thousand(arm.cost_usd)),
                Cell(reward(arm.reward)),
                Cell("yes" if arm.arm_id in on_envelope else "no"),
            ],
        )
        for number, arm in enumerate(arms, 1)
    ]
    heads = [Cell("arm"), Cell("cost", "per 1,000"), Cell("mean reward"), Cell("in static mixes")]
    return Table("Arms alone, over the whole log, from the cheapest up.", heads, rows)


def _single(results: Results) -> list[tuple[LogResults, Difference]]:
    """Differences of routers at single budgets, with their log."""
    return [
        (log, difference)
        for log in results.logs
        for (name, budget_usd), difference in log.differences.items()
        if budget_usd is not None and log.kinds.get(name) != REFERENCE
    ]


def _lost(log_name: str, policy: str, found: Sequence[Difference]) -> str:
    budgets = ", ".join(usd_per_thousand(difference.budget_usd or 0.0) for difference in found)
    most = max(found, key=lambda difference: difference.mean)
    by = f"{signed(most.mean)} {interval(most.low, most.high)}"
    return f"{log_name}: {policy} at {budgets}, by {'up to ' if len(found) > 1 else ''}{by}"


def _budget_heads(log: LogResults) -> list[Cell]:
    return [Cell(usd_per_thousand(budget_usd), f"{budget_usd:.2e} USD\na request") for budget_usd in log.budgets_usd]


def _against(log: LogResults, name: str) -> Cell:
    if name not in log.kinds:
        return Cell("–", "did not run")
    found = tally(
        [d for (policy, budget_usd), d in log.differences.items() if policy == name and budget_usd is not None]
    )
    overall = log.differences.get((name, None))
    return Cell(
        f"{found.wins} / {found.ties} / {found.losses}",
        _difference(overall) if overall is not None else "",
        TONES[overall.verdict] if overall is not None else "",
    )


def _rewarded(log: LogResults, name: str, budget_usd: float) -> Cell:
    found = log.differences.get((name, budget_usd))
    tone = TONES[found.verdict] if found is not None else ""
    return Cell(reward(log.means[name, budget_usd].reward), _difference(found) if found is not None else "", tone)


def _overall(log: LogResults, name: str) -> Cell:
    found = log.differences.get((name, None))
    if found is None:
        return Cell("–")
    return Cell(f"{signed(found.mean)} {MARKS[found.verdict]}", interval(found.low, found.high), TONES[found.verdict])


def _difference(found: Difference) -> str:
    return f"{signed(found.mean)} {MARKS[found.verdict]}\n{interval(found.low, found.high)}"


def _used(log: LogResults, name: str, budget_usd: float) -> Cell:
    means, best = log.means[name, budget_usd], log.means.get((BEST, budget_usd))
    return Cell(percent(means.utilisation), "\n".join(_remarks(means, best)))


def _remarks(means: Means, best: Means | None) -> list[str]:
    stopped = {"refused": means.refused, "over": means.overspend}
    remarks = [f"{percent(share)} {word}" for word, share in stopped.items() if share > _DUST]
    lines = [f"regret {reward(best.reward - means.reward)}"] if best is not None else []
    return [*lines, ", ".join(remarks)] if remarks else lines
