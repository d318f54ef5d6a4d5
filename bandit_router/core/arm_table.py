"""A pool's arms in columns beside the model that predicts them: what every quote needs and none changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bandit_router.core.budget_policies.protocol import Charge
from bandit_router.core.model import PoolModel, Predictions
from bandit_router.core.money import NUSD_PER_USD, TOKENS_PER_MTOK, TokenPrices
from bandit_router.core.onboarding import BoolArray, are_new, lifted
from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm

_MTOK_USD = TOKENS_PER_MTOK * NUSD_PER_USD


class ArmColumns(NamedTuple):
    """Plain numbers of K arms, by column: what of a query's tokens makes its expected bill and its hold.

    `lift`: of ln(output tokens), from its mean to ln of the mean. `longest_answers`: in tokens. List prices: in
    nano-USD per million tokens. `ratios`: what bills are of list prices.
    """

    lift: tuple[float, ...]
    longest_answers: tuple[int, ...]
    input_prices: tuple[int, ...]
    dearest_input_prices: tuple[int, ...]
    output_prices: tuple[int, ...]
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ArmTable:
    """The arms of a pool and its model, whose `arm_ids` are theirs, in order.

    `columns`: the arms' numbers for a single query; for many at once `most_tokens` (K,), of the longest answers, and
    list prices `input_usd`, `output_usd` (K,) in USD per token. `unavailable`: why an arm is not to be had at all, or
    ''. `live`: positions of those that are. `new` (K,): which have not used up their onboarding quota.
    """

    model: PoolModel
    arms: tuple[Arm, ...]
    columns: ArmColumns
    most_tokens: FloatArray
    input_usd: FloatArray
    output_usd: FloatArray
    unavailable: tuple[str, ...]
    live: tuple[int, ...]
    new: BoolArray
    has_new: bool

    @classmethod
    def of(cls, model: PoolModel, arms: Sequence[Arm]) -> ArmTable:
        """The table of these arms."""
        new = are_new(arms, model.calibration.spent_nusd)
        return cls(
            model=model,
            arms=tuple(arms),
            columns=_columns_of(model, [arm.prices for arm in arms], [arm.max_output_tokens for arm in arms]),
            most_tokens=np.array([arm.max_output_tokens for arm in arms], dtype=np.float64),
            input_usd=np.array([arm.prices.input_nusd_per_mtok / _MTOK_USD for arm in arms]),
            output_usd=np.array([arm.prices.output_nusd_per_mtok / _MTOK_USD for arm in arms]),
            unavailable=tuple(_unavailable(arm) for arm in arms),
            live=tuple(index for index, arm in enumerate(arms) if arm.is_live),
            new=new,
            has_new=bool(new.any()),
        )

    def costs_usd(self, predictions: Predictions, prompt_tokens: FloatArray) -> FloatArray:
        """Expected cost in USD (n, K) of n queries with so many prompt tokens (n,) at each arm."""
        listed = prompt_tokens[:, None] * self.input_usd + predictions.output_tokens(self.most_tokens) * self.output_usd
        total: FloatArray = listed * predictions.cost_ratio
        return total

    def scores(
        self,
        rewards: Sequence[float],
        costs_nusd: Sequence[int],
        *,
        charge: Charge,
        excluded: Sequence[str],
    ) -> list[float]:
        """Scores of arms with these optimistic rewards; those of new arms are raised to the best of the allowed."""
        if self.model.fitted.shares is not None:
            found: list[float] = self.model.fitted.shares.tolist()
            return found
        scores = charge.scores(rewards, costs_nusd)
        return self._lifted(scores, excluded) if self.has_new else scores

    def _lifted(self, scores: list[float], excluded: Sequence[str]) -> list[float]:
        allowed = np.array([not reason for reason in excluded], dtype=bool)
        if not (self.new & allowed).any():
            return scores
        raised = np.array(scores)
        raised[allowed] = lifted(raised[allowed], self.new[allowed])
        found: list[float] = raised.tolist()
        return found


def _columns_of(model: PoolModel, prices: Sequence[TokenPrices], longest_answers: Sequence[int]) -> ArmColumns:
    return ArmColumns(
        lift=tuple(model.tokens.lift.tolist()),
        longest_answers=tuple(longest_answers),
        input_prices=tuple(price.input_nusd_per_mtok for price in prices),
        dearest_input_prices=tuple(price.dearest_input_nusd_per_mtok for price in prices),
        output_prices=tuple(price.output_nusd_per_mtok for price in prices),
        ratios=tuple(model.calibration.ratios.tolist()),
    )


def _unavailable(arm: Arm) -> str:
    if not arm.enabled:
        return "disabled"
    return "draining" if arm.draining else ""
