"""What the log says that a call brings, under the prices and the quality of the moment."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import numpy as np

from bandit_router.core.money import TokenPrices, parse_price
from bandit_router.core.resources import Arm
from bandit_router_sim.replay.scenario import PriceChange, QualityChange
from bandit_router_sim.replay.setting import Material

_UNCHANGED = Decimal(1)
_PRICE_STEP = Decimal("0.000000001")


class Recorded:
    """The models, played by the log. A price change scales list prices and bills by one exact factor."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self._columns = {arm_id: column for column, arm_id in enumerate(material.log.arm_ids)}
        self._price_factors = dict.fromkeys(self._columns, _UNCHANGED)
        self._quality = [(1.0, 0.0)] * len(self._columns)

    def column(self, arm_id: str) -> int:
        """The arm's column in the log."""
        return self._columns[arm_id]

    def reward(self, row: int, arm_id: str) -> float:
        """The reward of the call, in [0, 1]."""
        column = self._columns[arm_id]
        factor, level = self._quality[column]
        return factor * float(self._material.log.scores[row, column]) + level

    def cost_usd(self, row: int, arm_id: str) -> Decimal:
        """The bill of the call."""
        recorded = Decimal(repr(float(self._material.log.costs_usd[row, self._columns[arm_id]])))
        return recorded * self._price_factors[arm_id]

    def price_factor(self, arm_id: str) -> Decimal:
        """What the arm's prices are now, as a multiple of the log's."""
        return self._price_factors[arm_id]

    def arm(self, arm_id: str, *, draining: bool = False) -> Arm:
        """The arm at its list prices of the moment, rounded up so that the longest answer covers every bill."""
        pricing, factor = self._material.prices[arm_id], self._price_factors[arm_id]
        input_nusd, output_nusd = (
            parse_price(f"{(Decimal(usd) * factor).quantize(_PRICE_STEP, rounding=ROUND_CEILING):f}")
            for usd in (pricing.input_usd_per_mtok, pricing.output_usd_per_mtok)
        )
        prices = TokenPrices(input_nusd, output_nusd, input_nusd)
        return Arm(arm_id=arm_id, prices=prices, max_output_tokens=pricing.max_output_tokens, draining=draining)

    def change_price(self, change: PriceChange) -> None:
        """From now on the arm costs what the change says."""
        if change.factor is not None:
            self._price_factors[change.arm_id] = Decimal(repr(change.factor))
            return
        assert change.mean_cost_usd is not None
        usual_usd = float(np.mean(self._material.log.costs_usd[:, self._columns[change.arm_id]]))
        self._price_factors[change.arm_id] = Decimal(repr(change.mean_cost_usd)) / Decimal(repr(usual_usd))

    def change_quality(self, change: QualityChange) -> None:
        """From now on the arm is as good as the change says."""
        quality = (change.factor, 0.0) if change.factor is not None else (0.0, change.level or 0.0)
        self._quality[self._columns[change.arm_id]] = quality
