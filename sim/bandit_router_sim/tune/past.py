"""A decision log as a world to live in once more: contexts as they came, and an outcome for every arm.

The log knows the outcome of one arm a row. What another arm would have brought is taken from a row that did choose it
and whose predicted outcome (`ope.outcome_models`, cross-fitted) is among the ten nearest: predictive mean matching
(Little, 1988). Such values are outcomes that really occurred, so rewards stay in [0, 1] and costs are bills, with
their real scatter, which neither a prediction nor a doubly robust pseudo-outcome has: q̂ + w (y − q̂) leaves [0, 1] by
factors of 1/p. They are drawn anew for every seed. A loop learns and pays in this world; what it is worth is not read
there but from the logged outcomes alone (`tune.counterfactual`).

A row's own outcome has no part in what its other arms bring: its q̂ are of other folds, and a donor chose the arm that
it lends to. But the row is a donor itself, also to rows before it, so a loop that comes to it may have learned from its
outcome. An outcome weighs in the loop's estimate of its arm as it weighs among that arm's logged outcomes, whatever the
number of copies: O(d / n_a) of an estimate with d coordinates, which is not nothing beside the standard error of what
is read. `tune.counterfactual` says what it comes to, and why donors are not restricted to the past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray, IndexArray
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.diagnostics import RefusedEstimate, check_support
from bandit_router_sim.ope.prepare import Options, PreparedLog, PreparedOutcome, prepare
from bandit_router_sim.replay.order import order_of, random_of
from bandit_router_sim.replay.pricing import price_by_cost
from bandit_router_sim.replay.setting import ArmPricing, Material

DONORS = 10
_LENGTH_CENTRE = 4.5
_LENGTH_SCALE = 1.5
_STRUCTURED = 2
_DRAWS = 1 << 32


class CannotRelive(ValueError):
    """The log does not support the question; `refusal` says why."""

    def __init__(self, refusal: RefusedEstimate) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A log ready to be lived through: its models and observed outcomes, the arms that are left, and their prices."""

    prepared: PreparedLog
    columns: tuple[int, ...]
    prices: Mapping[str, ArmPricing]

    @property
    def log(self) -> DecisionLog:
        """The decisions."""
        return self.prepared.log

    @property
    def reward_rate(self) -> float:
        """Share of decisions with a reward."""
        return float(np.isfinite(self.log.rewards).mean())


def past_of(
    log: DecisionLog,
    *,
    list_prices: Mapping[str, ArmPricing],
    without: tuple[str, ...] = (),
    reprices: Mapping[str, ArmPricing] | None = None,
    options: Options | None = None,
) -> Past:
    """The past with arms removed and repriced. Raises CannotRelive."""
    _check(log, without, reprices or {}, list_prices)
    kept = tuple(column for column, arm_id in enumerate(log.arm_ids) if arm_id not in without)
    for arm_id, new in (reprices or {}).items():
        log = _repriced(log, arm_id, old=list_prices[arm_id], new=new)
    prices = {**list_prices, **(reprices or {})}
    past = Past(prepare(log, options or Options()), kept, {})
    left = [log.arm_ids[column] for column in kept]
    if all(arm_id in prices for arm_id in left):
        return replace(past, prices={arm_id: prices[arm_id] for arm_id in left})
    return replace(past, prices=price_by_cost(_full_log(past, seed=0)))


def material_of(past: Past, *, seed: int) -> Material:
    """The world of one seed. Its rows stand so that a replay with this seed meets them in the order of the log."""
    order = order_of(len(past.log), random_of(seed))
    back = np.argsort(order)
    return Material(
        log=_full_log(past, seed=seed).rows(back),
        embeddings=past.log.contexts[back, _STRUCTURED:],
        prices=past.prices,
    )


def prompt_tokens_of(log: DecisionLog) -> IndexArray:
    """Prompt tokens (n,), from the coordinate of the context that tells the prompt's length (`core.context`)."""
    tokens = np.expm1(log.contexts[:, 1] * _LENGTH_SCALE + _LENGTH_CENTRE)
    return np.maximum(np.rint(tokens), 0).astype(np.int64)


def matched(outcome: PreparedOutcome, actions: IndexArray, arm: int, random: np.random.Generator) -> FloatArray:
    """An outcome (n,) of the arm for every row: the row's own where it chose the arm, else that of a near donor."""
    observed = outcome.observation.observed & (actions == arm)
    predictions = outcome.predictions[:, arm]
    donors = np.flatnonzero(observed)
    donors = donors[np.argsort(predictions[donors], kind="stable")]
    near = min(DONORS, len(donors))
    place = np.searchsorted(predictions[donors], predictions)
    first = np.clip(place - near // 2, 0, len(donors) - near)
    values = outcome.values[donors[first + random.integers(0, near, len(actions))]]
    return np.where(observed, outcome.values, values)


def _full_log(past: Past, *, seed: int) -> FullLog:
    log, prepared = past.log, past.prepared
    random = np.random.Generator(np.random.PCG64([seed, _DRAWS]))
    scores, costs = (
        np.column_stack([matched(outcome, log.actions, column, random) for column in past.columns])
        for outcome in (prepared.reward, prepared.cost)
    )
    tokens = np.repeat(prompt_tokens_of(log)[:, None], len(past.columns), axis=1).astype(np.float64)
    return FullLog(
        name=log.name,
        arm_ids=tuple(log.arm_ids[column] for column in past.columns),
        query_ids=log.decision_ids,
        prompts=("",) * len(log),
        sources=("",) * len(log),
        splits=("",) * len(log),
        scores=scores,
        costs_usd=costs,
        input_tokens=tokens,
        output_tokens=np.full(tokens.shape, np.nan),
    )


def _repriced(log: DecisionLog, arm_id: str, *, old: ArmPricing, new: ArmPricing) -> DecisionLog:
    """The arm's bills at other prices: the same tokens, of which the output's number follows from the old bill."""
    chosen = log.actions == log.arm_ids.index(arm_id)
    tokens_in = prompt_tokens_of(log) / 1e6
    tokens_out = np.maximum(log.costs_usd - float(old.input_usd_per_mtok) * tokens_in, 0.0) / float(
        old.output_usd_per_mtok
    )
    bills = float(new.input_usd_per_mtok) * tokens_in + float(new.output_usd_per_mtok) * tokens_out
    return replace(log, costs_usd=np.where(chosen, bills, log.costs_usd))


def _check(
    log: DecisionLog,
    without: tuple[str, ...],
    reprices: Mapping[str, ArmPricing],
    list_prices: Mapping[str, ArmPricing],
) -> None:
    refusal = (
        check_support(log, log.propensities)
        or _unknown_arms(log, [*without, *reprices])
        or _no_arm_left(log, without)
        or _foreign(log)
        or _few_donors(log, without)
        or _no_old_price(reprices, list_prices)
    )
    if refusal is not None:
        raise CannotRelive(refusal)


def _unknown_arms(log: DecisionLog, arm_ids: list[str]) -> RefusedEstimate | None:
    unknown = [arm_id for arm_id in arm_ids if arm_id not in log.arm_ids]
    if not unknown:
        return None
    return RefusedEstimate("unknown_arm", f"no arm {unknown[0]!r}; the log has {', '.join(log.arm_ids)}")


def _no_arm_left(log: DecisionLog, without: tuple[str, ...]) -> RefusedEstimate | None:
    return RefusedEstimate("no_arm", "no arm is left") if set(log.arm_ids) <= set(without) else None


def _foreign(log: DecisionLog) -> RefusedEstimate | None:
    if len(set(log.tenant_ids)) > 1:
        return RefusedEstimate(
            "several_tenants", f"the log holds {len(set(log.tenant_ids))} tenants, each with money of its own: name one"
        )
    if log.contexts.shape[1] <= _STRUCTURED or not np.all(log.contexts[:, 0] == 1.0):
        return RefusedEstimate("foreign_contexts", "the contexts are not those of the service, which begin with 1")
    return None


def _few_donors(log: DecisionLog, without: tuple[str, ...]) -> RefusedEstimate | None:
    seen = np.isfinite(log.rewards) & np.isfinite(log.costs_usd)
    for column, arm_id in enumerate(log.arm_ids):
        count = int(np.sum(seen & (log.actions == column)))
        if arm_id not in without and count < DONORS:
            return RefusedEstimate(
                "few_outcomes",
                f"{arm_id} was chosen {count} times with a bill and a reward, of which {DONORS} are needed; "
                "a log with more exploration has more, or leave the arm out",
            )
    return None


def _no_old_price(reprices: Mapping[str, ArmPricing], known: Mapping[str, ArmPricing]) -> RefusedEstimate | None:
    for arm_id in reprices:
        if arm_id not in known or not math.isfinite(float(known[arm_id].output_usd_per_mtok)):
            return RefusedEstimate("no_list_price", f"the quotes of {arm_id} do not tell its present prices")
        if float(known[arm_id].output_usd_per_mtok) == 0.0:
            return RefusedEstimate("no_list_price", f"{arm_id} has no output price, so its bills tell no tokens")
    return None
