"""What a pool must have learned: the batch solution, straight from the outcomes of its decisions.

For any positions in the event log the state must be the sums over the decisions up to there, each with its latest
outcome up to there, as if that one alone had ever come: the pool's over all tenants that were not isolated, and each
tenant's own over its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from bandit_router.core.arm_state import Arms
from bandit_router.core.decision import Decision
from bandit_router.core.learners.gaussian import GaussianRewards
from bandit_router.core.model import PoolModel
from bandit_router.core.outcomes import Billing, Outcome, OutcomeKind
from bandit_router.core.pool_state import PoolState
from bandit_router.core.regression import RegressionSums
from bandit_router.core.seats import Seats
from bandit_router_sim.world.failure import Violation

TOLERANCE = 1e-9
_SILENT = (OutcomeKind.FAILED, OutcomeKind.CANCELLED)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One commit as an example: what a learner may read out of it."""

    entry_id: str
    decision_id: str
    tenant_id: str
    is_isolated: bool
    arm_id: str
    context: FloatArray
    reward: float | None
    log_tokens: float | None
    is_settled: bool


@dataclass(slots=True)
class Lessons:
    """The event log of every pool, by partition, in order."""

    logs: dict[str, dict[int, list[Lesson]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    positions: dict[str, Mapping[int, str]] = field(default_factory=dict)

    def add(self, pool_id: str, partition: int, entry_id: str, decision: Decision, after: Outcome) -> None:
        """A commit has appended an event."""
        log = self.logs[pool_id][partition]
        if log and _number(entry_id) <= _number(log[-1].entry_id):
            raise Violation(f"event {entry_id} of {pool_id} does not follow {log[-1].entry_id}")
        context = np.asarray(decision.context, dtype=np.float64)
        shown = log_tokens(decision, after)
        is_settled = after.billing is not Billing.HELD
        log.append(
            Lesson(
                entry_id,
                decision.decision_id,
                decision.tenant_id,
                bool(decision.isolated),
                decision.arm_id,
                context,
                after.reward,
                shown,
                is_settled,
            )
        )

    def check(self, pool_id: str, state: PoolState) -> None:
        """A stored state is the batch solution at the positions it claims, which never go back."""
        self._check_progress(pool_id, state.positions)
        read = self._upto(pool_id, state.positions)
        if state.events != len(read):
            raise Violation(f"{pool_id}: {state.events} events folded, {len(read)} are at {state.positions}")
        latest = {lesson.decision_id: lesson for lesson in read}
        shared = [lesson for lesson in latest.values() if not lesson.is_isolated]
        apart = [lesson for lesson in latest.values() if lesson.is_isolated]
        _check_arms(pool_id, state.arms, shared)
        if len({lesson.tenant_id for lesson in shared}) > 1:
            _check_seats(f"{pool_id} shared", state.tenants.sharing, shared)
        _check_seats(f"{pool_id} isolated", state.tenants.isolated, apart)

    def check_complete(self, pool_id: str, state: PoolState) -> None:
        """Nothing is left to learn."""
        missing = {part: log[-1].entry_id for part, log in self.logs[pool_id].items()}
        if dict(state.positions) != missing:
            raise Violation(f"{pool_id}: learned up to {state.positions}, the log ends at {missing}")

    def check_model(self, pool_id: str, model: PoolModel, *, level: float, bias: float, ridge: float) -> None:
        """The posterior means that a replica serves solve the normal equations of all lessons."""
        everything = [lesson for log in self.logs[pool_id].values() for lesson in log]
        latest = {lesson.decision_id: lesson for lesson in everything if not lesson.is_isolated}
        served = model.fitted.rewards
        assert isinstance(served, GaussianRewards), served
        for index, arm_id in enumerate(model.arm_ids):
            pairs = [(le.context, le.reward) for le in latest.values() if le.arm_id == arm_id]
            expected = _solve(pairs, model.dimension, level=level, bias=bias, ridge=ridge)
            if not np.allclose(served.mean[index], expected, rtol=0.0, atol=TOLERANCE):
                raise Violation(f"{pool_id}/{arm_id} is served {served.mean[index]}, should be {expected}")

    def _check_progress(self, pool_id: str, positions: Mapping[int, str]) -> None:
        for partition, entry_id in self.positions.get(pool_id, {}).items():
            if _number(positions.get(partition, "0-0")) < _number(entry_id):
                raise Violation(f"{pool_id}: partition {partition} went back from {entry_id} to {positions}")
        self.positions[pool_id] = dict(positions)

    def _upto(self, pool_id: str, positions: Mapping[int, str]) -> list[Lesson]:
        return [
            lesson
            for partition, log in self.logs[pool_id].items()
            for lesson in log
            if _number(lesson.entry_id) <= _number(positions.get(partition, "0-0"))
        ]


def log_tokens(decision: Decision, outcome: Outcome) -> float | None:
    """ln of the output tokens that an outcome shows, or None."""
    bill = outcome.bill
    if outcome.billing is not Billing.BILLED or bill is None or outcome.kind in _SILENT:
        return None
    if bill.output_tokens is not None:
        return math.log(max(1.0, bill.output_tokens))
    prices = decision.prices
    if prices.output_nusd_per_mtok == 0:
        return None
    given = decision.prompt_tokens if bill.input_tokens is None else bill.input_tokens
    cached = decision.cached_tokens if bill.cached_input_tokens is None else bill.cached_input_tokens
    input_price = max(0, given - cached) * prices.input_nusd_per_mtok + cached * prices.cached_input_nusd_per_mtok
    left_nusd = max(0, bill.cost_nusd - math.ceil(Fraction(input_price, 1_000_000)))
    return math.log(max(1.0, left_nusd * 1_000_000 / prices.output_nusd_per_mtok))


def _check_seats(where: str, seats: Seats, lessons: Sequence[Lesson]) -> None:
    """Every tenant's own sums are those of its own lessons; a world has fewer tenants than there are seats."""
    tenant_ids = {lesson.tenant_id for lesson in lessons}
    if tenant_ids != seats.by_tenant.keys():
        raise Violation(f"{where}: seats of {sorted(seats.by_tenant)}, should be of {sorted(tenant_ids)}")
    for tenant_id, seat in seats.by_tenant.items():
        own = [lesson for lesson in lessons if lesson.tenant_id == tenant_id]
        _check_arms(f"{where}/{tenant_id}", seat.book.arms, own)


def _check_arms(where: str, arms: Arms, lessons: Sequence[Lesson]) -> None:
    by_arm: dict[str, list[Lesson]] = defaultdict(list)
    for lesson in lessons:
        by_arm[lesson.arm_id].append(lesson)
    if set(by_arm) != set(arms):
        raise Violation(f"{where}: learned of {sorted(arms)}, should be {sorted(by_arm)}")
    for arm_id, found in by_arm.items():
        arm, place = arms[arm_id], f"{where}/{arm_id}"
        _check_sums(f"{place} reward", arm.reward, [(le.context, le.reward) for le in found])
        _check_sums(f"{place} tokens", arm.tokens, [(le.context, le.log_tokens) for le in found])
        settled = sum(lesson.is_settled for lesson in found)
        if arm.settled != settled:
            raise Violation(f"{place}: {arm.settled} settled, should be {settled}")


def _check_sums(where: str, sums: RegressionSums, pairs: Sequence[tuple[FloatArray, float | None]]) -> None:
    known = [(x, y) for x, y in pairs if y is not None]
    if sums.count != len(known):
        raise Violation(f"{where}: {sums.count} observations, should be {len(known)}")
    dimension = len(sums.moment)
    contexts = np.array([x for x, _ in known]).reshape(-1, dimension)
    values = np.array([y for _, y in known])
    scale = 1.0 + float(np.square(contexts).sum()) + float(np.square(values).sum())
    for told, right in (
        (sums.gram, contexts.T @ contexts),
        (sums.moment, contexts.T @ values),
        (np.array(sums.square), np.square(values).sum()),
    ):
        if not np.allclose(told, right, rtol=0.0, atol=TOLERANCE * scale):
            raise Violation(f"{where}: sums are {told}, the batch has {right}")


def _solve(
    pairs: Sequence[tuple[FloatArray, float | None]], dimension: int, *, level: float, bias: float, ridge: float
) -> FloatArray:
    precision = np.diag([bias, *[ridge] * (dimension - 1)])
    information = precision @ np.array([level, *[0.0] * (dimension - 1)])
    for x, y in pairs:
        if y is not None:
            precision = precision + np.outer(x, x)
            information = information + y * x
    return np.linalg.solve(precision, information)


def _number(entry_id: str) -> tuple[int, int]:
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence)
