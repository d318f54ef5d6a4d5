"""A pool's arms in columns beside the model that predicts them: what every quote needs and none changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import Charge
from bandit_router.core.model import PoolModel, Predictions
from bandit_router.core.money import NUSD_PER_USD, TOKENS_PER_MTOK
from bandit_router.core.onboarding import BoolArray, are_new, lifted
from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm

_MTOK_USD = TOKENS_PER_MTOK * NUSD_PER_USD


@dataclass(frozen=True, slots=True, eq=False)
class ArmTable:
    """The arms of a pool and its model, whose `arm_ids` are theirs, in order.

    `longest_answers`, `most_tokens` (K,): tokens of the longest answers. `ratios`: what bills are of list prices.
    `unavailable`: why an arm is not to be had at all, or ''. `live`: positions of those that are. `new` (K,): which
    have not used up their onboarding quota. List prices: `…_prices` in nano-USD per million tokens, for money;
    `…_usd` (K,) in USD per token, for formulas.
    """

    model: PoolModel
    arms: tuple[Arm, ...]
    longest_answers: tuple[int, ...]
    most_tokens: FloatArray
    ratios: tuple[float, ...]
    unavailable: tuple[str, ...]
    live: tuple[int, ...]
    new: BoolArray
    has_new: bool
    input_prices: tuple[int, ...]
    dearest_input_prices: tuple[int, ...]
    output_prices: tuple[int, ...]
    input_usd: FloatArray
    output_usd: FloatArray

    @classmethod
    def of(cls, model: PoolModel, arms: Sequence[Arm]) -> ArmTable:
        """The table of these arms."""
        new = are_new(arms, model.calibration.spent_nusd)
        return cls(
            model=model,
            arms=tuple(arms),
            longest_answers=tuple(arm.max_output_tokens for arm in arms),
            most_tokens=np.array([arm.max_output_tokens for arm in arms], dtype=np.float64),
            ratios=tuple(model.calibration.ratios.tolist()),
            unavailable=tuple(_unavailable(arm) for arm in arms),
            live=tuple(index for index, arm in enumerate(arms) if arm.is_live),
            new=new,
            has_new=bool(new.any()),
            input_prices=tuple(arm.prices.input_nusd_per_mtok for arm in arms),
            dearest_input_prices=tuple(arm.prices.dearest_input_nusd_per_mtok for arm in arms),
            output_prices=tuple(arm.prices.output_nusd_per_mtok for arm in arms),
            input_usd=np.array([arm.prices.input_nusd_per_mtok / _MTOK_USD for arm in arms]),
            output_usd=np.array([arm.prices.output_nusd_per_mtok / _MTOK_USD for arm in arms]),
        )

    def costs_usd(self, predictions: Predictions, prompt_tokens: FloatArray) -> FloatArray:
        """Expected cost in USD (n, K) of n queries with so many prompt tokens (n,) at each arm."""
        listed = prompt_tokens[:, None] * self.input_usd + predictions.output_tokens(self.most_tokens) * self.output_usd
        total: FloatArray = listed * predictions.cost_ratio
        return total

    def scores(
        self,
        rewards: Sequence[float],
        deviations: Sequence[float],
        costs_nusd: Sequence[int],
        *,
        charge: Charge,
        excluded: Sequence[str],
    ) -> list[float]:
        """Scores of the arms with these predictions, those of new arms raised to the best that may be chosen."""
        fitted = self.model.fitted
        if fitted.shares is not None:
            found: list[float] = fitted.shares.tolist()
            return found
        alpha = fitted.alpha
        optimistic = [reward + alpha * deviation for reward, deviation in zip(rewards, deviations, strict=True)]
        scores = charge.scores(optimistic, costs_nusd)
        return self._lifted(scores, excluded) if self.has_new else scores

    def _lifted(self, scores: list[float], excluded: Sequence[str]) -> list[float]:
        allowed = np.array([not reason for reason in excluded], dtype=bool)
        if not (self.new & allowed).any():
            return scores
        raised = np.array(scores)
        raised[allowed] = lifted(raised[allowed], self.new[allowed])
        found: list[float] = raised.tolist()
        return found


def _unavailable(arm: Arm) -> str:
    if not arm.enabled:
        return "disabled"
    return "draining" if arm.draining else ""
