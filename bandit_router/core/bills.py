"""How an arm's bills compare with what was expected of them, and by what expected costs are corrected.

The model of output tokens is wrong in ways that do not cancel: answers are not log-normal, tokens are counted
differently at every provider, caches are hit that nobody has told of. So per arm the expected cost at list prices is
multiplied by

    κ = 1 + m / (m + SHRINKAGE) · (Σ n·bill / Σ n·estimate − 1)        m = (Σ n)² / Σ n²

over the bills of answered calls, n being how many bills of the arm the estimate had been made from. An estimate by the
bare prior has no say, a later one more than an earlier one, as in a moving average; but the sums are of integers, so
they are the same whatever the order of bills, and a correction leaves no trace.

The estimate is worked out again from the decision's record, without the κ of the time: else each κ would correct the
one before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import Bill, Outcome

SHRINKAGE = 100.0
"""So many bills weigh as much as the belief that estimates are right."""

LEAST_RATIO, LARGEST_RATIO = 0.1, 10.0
"""Bounds of κ: beyond them a list price is wrong, which people have to put right."""


@dataclass(frozen=True, slots=True)
class BillSums:
    """Sums of one arm over the bills of answered calls; `spent_nusd` over whatever was booked.

    `count`: bills; `weight`, `square_weight`: Σn and Σn²; `billed`, `estimated`: Σ n·bill and Σ n·estimate, nano-USD.
    """

    count: int = 0
    weight: int = 0
    square_weight: int = 0
    billed: int = 0
    estimated: int = 0
    spent_nusd: int = 0

    @property
    def ratio(self) -> float:
        """κ: what a bill is expected to be of its estimate."""
        if not self.estimated:
            return 1.0
        bills = self.weight**2 / self.square_weight
        found = 1.0 + bills / (bills + SHRINKAGE) * (self.billed / self.estimated - 1.0)
        return min(LARGEST_RATIO, max(LEAST_RATIO, found))

    def changed(self, decision: Decision, before: Outcome, after: Outcome) -> BillSums:
        """The sums with the decision's outcome `after` in the place of `before`."""
        estimate_nusd, times = estimate_of(decision), decision.learned_bills
        count = self.count
        weight, square, billed, estimated = self.weight, self.square_weight, self.billed, self.estimated
        for bill, sign in ((answer_bill(before), -1), (answer_bill(after), 1)):
            if bill is not None:
                count += sign
                weight += sign * times
                square += sign * times**2
                billed += sign * times * bill.cost_nusd
                estimated += sign * times * estimate_nusd
        return replace(
            self.booked(before, after),
            count=count,
            weight=weight,
            square_weight=square,
            billed=billed,
            estimated=estimated,
        )

    def booked(self, before: Outcome, after: Outcome) -> BillSums:
        """The sums with no more than the money that was booked, of outcomes that are not to be learned from."""
        return replace(self, spent_nusd=self.spent_nusd + after.cost_nusd - before.cost_nusd)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Of K arms: κ, from how many bills estimates are made now, and what was spent on them in all."""

    ratios: npt.NDArray[np.float64]
    counts: tuple[int, ...]
    spent_nusd: tuple[int, ...]


def calibrate(sums: Mapping[str, BillSums], arm_ids: Sequence[str]) -> Calibration:
    """The calibration of arms, those never billed included."""
    found = [sums.get(arm_id, BillSums()) for arm_id in arm_ids]
    return Calibration(
        ratios=np.array([arm.ratio for arm in found]),
        counts=tuple(arm.count for arm in found),
        spent_nusd=tuple(arm.spent_nusd for arm in found),
    )


def estimate_of(decision: Decision) -> int:
    """The expected bill of the chosen arm, in nano-USD, as it was before any correction."""
    return decision.prices.cost_nusd(
        input_tokens=decision.prompt_tokens,
        output_tokens=math.ceil(decision.quote.expected_output_tokens),
        cached_input_tokens=decision.cached_tokens,
    )


def answer_bill(outcome: Outcome) -> Bill | None:
    """The bill of an answer; a failed or cancelled call says nothing about what an answer would have cost."""
    return outcome.bill if outcome.is_answered else None
