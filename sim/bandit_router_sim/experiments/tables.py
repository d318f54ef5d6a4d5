"""The experiments' tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bandit_router_sim.compare.intervals import Interval, paired_interval
from bandit_router_sim.experiments.delays import PROMPT, Lateness, Loss
from bandit_router_sim.experiments.reactions import eventual_share, requests_to_recover, requests_to_share
from bandit_router_sim.experiments.runs import (
    EXPERIMENTS,
    WITH_NEWCOMER,
    Ground,
    Task,
    rewards_by_query,
    starts_as,
)
from bandit_router_sim.experiments.warm import WARM
from bandit_router_sim.kept.cache import Finished
from bandit_router_sim.logs.full import BoolArray, FloatArray
from bandit_router_sim.prior_study.tables import markdown
from bandit_router_sim.replay.named import newcomer

BASELINE = "default"
QUALITY = "quality_drop"
_NONE = "–"

Found = Mapping[Task, Finished]
Runs = Mapping[tuple[str, float, str], Sequence[Finished]]
"""By experiment, budget and player: the runs in the order of their seeds."""


def changes_tables(ground: Ground, found: Found) -> str:
    """Rewards and money by phase, differences, and how soon new arms are taken up and drops are recovered from."""
    runs = grouped(found)
    parts = [
        *_money_parts(runs, queries=len(ground.material.log), under=""),
        "### A new arm",
        markdown(_SHARES, _share_rows(ground, runs)),
        "### Drop and recovery",
        markdown(_RECOVERIES, _recovery_rows(runs)),
    ]
    return "\n\n".join(parts)


def tables_by_phase(found: Found, *, queries: int) -> str:
    """Rewards and money, and differences, where every phase has a budget of its own."""
    return "\n\n".join(_money_parts(grouped(found), queries=queries, under=", a budget for each phase"))


def _money_parts(runs: Runs, *, queries: int, under: str) -> list[str]:
    return [
        f"### Rewards and money{under}",
        markdown(_MONEY, [_money_row(place, members) for place, members in runs.items()]),
        f"### Differences by phase{under}",
        markdown(_DIFFERENCES, _difference_rows(runs, queries=queries)),
    ]


def delays_table(found: Sequence[Loss]) -> str:
    """What late and rare feedback costs."""
    head = (
        "policy",
        "rewards late by",
        "rewarded",
        "bills late by",
        "USD",
        "reward",
        "loss",
        "used",
        "most used",
        "refused",
    )
    rows = [
        (
            *_case(loss.case),
            f"{loss.budget_usd:g}",
            f"{loss.reward_mean:.4f}",
            _NONE if loss.case == PROMPT else interval_text(loss.loss),
            f"{loss.utilisation:.4f}",
            f"{loss.utilisation_most:.6f}",
            f"{loss.refusals:.1f}",
        )
        for loss in found
    ]
    return "### Late and rare feedback\n\n" + markdown(head, rows)


def _case(case: Lateness) -> tuple[str, str, str, str]:
    return case.policy, str(case.reward_delay), f"{case.reward_rate:.0%}", str(case.bill_delay)


def grouped(found: Found) -> Runs:
    """By experiment, budget and player; experiments in the order of EXPERIMENTS."""
    groups: dict[tuple[str, float, str], list[Finished]] = {}
    order = {experiment: index for index, experiment in enumerate(EXPERIMENTS)}
    for task in sorted(found, key=lambda t: (order[t.experiment], t.setting.budget_usd, t.player, t.setting.seed)):
        groups.setdefault((task.experiment, task.setting.budget_usd, task.player), []).append(found[task])
    return groups


_MONEY = ("experiment", "USD", "player", "reward by phase", "used by phase", "used", "most", "refused", "unstopped")


def _money_row(place: tuple[str, float, str], members: Sequence[Finished]) -> Sequence[str]:
    """Means over orders; `most`: of all orders; `unstopped`: spend beyond the budget, had nobody stopped it."""
    experiment, budget_usd, player = place
    rows = [member.row for member in members]
    return (
        experiment,
        f"{budget_usd:g}",
        player,
        rewards_text(members),
        shares_text([[part["utilisation"] for part in row["phases"]] for row in rows]),
        f"{np.mean([row['utilisation'] for row in rows]):.4f}",
        f"{max(row['utilisation'] for row in rows):.4f}",
        f"{np.mean([row['refusals'] for row in rows]):.1f}",
        f"{np.mean([row['overspend'] for row in rows]):+.1%}",
    )


def rewards_text(members: Sequence[Finished]) -> str:
    """Mean reward of every phase."""
    means = np.mean([[part["reward_mean"] for part in member.row["phases"]] for member in members], axis=0)
    return " ".join(f"{value:.4f}" for value in means.tolist())


def shares_text(shares: Sequence[Sequence[float]] | Sequence[FloatArray]) -> str:
    """Means over runs of shares by phase (runs, phases)."""
    return " ".join(f"{value:.2f}" for value in np.mean(shares, axis=0).tolist())


_DIFFERENCES = ("experiment", "USD", "player", "less", "whole stretch", "by phase")


def _difference_rows(runs: Runs, *, queries: int) -> Iterable[Sequence[str]]:
    for (experiment, budget_usd, player), theirs in runs.items():
        for name in compared_with(player):
            ours = runs.get((experiment, budget_usd, name))
            if ours is None:
                continue
            phases = len(theirs[0].row["phases"])
            parts = [difference(ours, theirs, queries, phase) for phase in range(phases)] if phases > 1 else []
            whole = difference(ours, theirs, queries, None)
            by_phase = "; ".join(map(interval_text, parts)) or _NONE
            yield experiment, f"{budget_usd:g}", name, player, interval_text(whole), by_phase


def compared_with(player: str) -> Sequence[str]:
    """Who is compared with a player: the default, and the one that starts as it does."""
    return [name for name in (BASELINE, WARM) if name != player and (name == BASELINE or starts_as(name) == player)]


def difference(ours: Sequence[Finished], theirs: Sequence[Finished], queries: int, phase: int | None) -> Interval:
    """Reward of ours less theirs in the same orders, of a phase or of the whole stretch."""
    apart = rewards_by_query(ours, queries, phase=phase) - rewards_by_query(theirs, queries, phase=phase)
    return paired_interval(apart, np.isfinite(apart))


_SHARES = ("experiment", "USD", "player", "eventual share", "requests until then", "slowest", "not within")


def _share_rows(ground: Ground, runs: Runs) -> Iterable[Sequence[str]]:
    log = ground.material.log
    column = log.arm_ids.index(newcomer(log))
    for (experiment, budget_usd, player), members in runs.items():
        if experiment not in WITH_NEWCOMER:
            continue
        after = [_after(member, column) for member in members]
        share = float(np.mean([eventual_share(is_new) for is_new in after]))
        times = [requests_to_share(is_new) for is_new in after]
        yield experiment, f"{budget_usd:g}", player, f"{share:.0%}", *_times(times)


def _after(member: Finished, column: int) -> BoolArray:
    """Whether the arm was chosen, for the requests after it came."""
    came = member.details["phase"] > 0
    return np.asarray(member.details["arm"][came] == column)


_RECOVERIES = (
    "USD",
    "player",
    "after the",
    "requests until its old level",
    "slowest",
    "not within",
    "of means",
)


def _recovery_rows(runs: Runs) -> Iterable[Sequence[str]]:
    for (experiment, budget_usd, player), members in runs.items():
        if experiment != QUALITY:
            continue
        for phase, change in ((1, "drop"), (2, "recovery")):
            levels = [float(_rewards(member, 0).mean()) for member in members]
            after = [_rewards(member, phase) for member in members]
            times = [requests_to_recover(rewards, level=level) for rewards, level in zip(after, levels, strict=True)]
            of_means = requests_to_recover(np.mean(after, axis=0), level=float(np.mean(levels)))
            yield f"{budget_usd:g}", player, change, *_times(times), _NONE if of_means is None else str(of_means)


def _rewards(member: Finished, phase: int) -> FloatArray:
    return np.asarray(member.rewards[member.details["phase"] == phase], dtype=np.float64)


def _times(times: Sequence[int | None]) -> tuple[str, str, str]:
    """Median and slowest of those that got there, and how many did not."""
    reached = [time for time in times if time is not None]
    missed = f"{len(times) - len(reached)} of {len(times)}"
    return (f"{np.median(reached):.0f}", str(max(reached)), missed) if reached else (_NONE, _NONE, missed)


def interval_text(interval: Interval) -> str:
    """The mean with its interval."""
    return f"{interval.mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
