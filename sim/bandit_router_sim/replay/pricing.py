"""List prices for arms whose log gives costs only.

Such a log does not say what a token costs. The replayed arm is then given an output price at which its dearest call is
the longest answer allowed, and no input price: holds cover every bill, expected costs are learned from the bills, and
no policy is told more than the scale of the arm's costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

import numpy as np

from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.replay.setting import ArmPricing

LONGEST_ANSWER_TOKENS = 16_384
_PRICE_STEP = Decimal("0.000000001")


def price_by_cost(log: FullLog) -> Mapping[str, ArmPricing]:
    """Prices for every arm of a log of complete rows."""
    return {arm_id: _price(float(np.max(log.costs_usd[:, column]))) for column, arm_id in enumerate(log.arm_ids)}


def _price(dearest_usd: float) -> ArmPricing:
    usd_per_mtok = Decimal(repr(dearest_usd)) * 1_000_000 / LONGEST_ANSWER_TOKENS
    assert math.isfinite(dearest_usd)
    price = usd_per_mtok.quantize(_PRICE_STEP, rounding=ROUND_CEILING)
    return ArmPricing(input_usd_per_mtok="0", output_usd_per_mtok=f"{price:f}", max_output_tokens=LONGEST_ANSWER_TOKENS)
