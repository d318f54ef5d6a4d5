"""List prices and longest answers of the arms, recovered from the quotes of exported events.

An event does not hold the arms' prices, but it holds what follows from them: for every arm the expected cost is

    input price × prompt tokens + output price × ⌈expected output tokens⌉,

rounded up to nano-USD. Two prices explain hundreds of such quotes, so least squares gives them back to within the
rounding; where they do not explain the latest quotes (a price changed, or prompts were cached) they are not guessed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import nnls

from bandit_router.core.context import BYTES_PER_TOKEN, TEMPLATE_TOKENS
from bandit_router.core.money import NUSD_PER_USD, TOKENS_PER_MTOK
from bandit_router.core.resources import DEFAULT_MAX_OUTPUT_TOKENS
from bandit_router_sim.logs.event_fields import BadField, integer, number, text
from bandit_router_sim.logs.findings import Findings, PathLike
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.logs.tables import read_table
from bandit_router_sim.replay.setting import ArmPricing

LATEST = 500
_ROUNDING_NUSD = 1.5
_RELATIVE = 1e-4
_LONGEST_ANSWER_TOKENS = 2**31 - 1

Quote = tuple[float, float, float, float]
"""Prompt tokens, expected output tokens rounded up, expected cost and hold in nano-USD."""


def read_list_prices(path: PathLike) -> Mapping[str, ArmPricing]:
    """Terms of the arms whose latest quotes two prices explain; arms may be missing."""
    table = read_table(path, Findings(path), wants=lambda column: column in ("arms", "prompt_tokens"))
    quotes: dict[str, list[Quote]] = defaultdict(list)
    rows = list(zip(table.objects("arms"), table.objects("prompt_tokens"), strict=True))
    for cells, prompt_tokens in rows[-LATEST:]:
        for cell in cells if isinstance(cells, list) else []:
            if (quote := _quote(cell, prompt_tokens)) is not None:
                quotes[cell["arm_id"]].append(quote)
    found = {arm_id: _terms(np.array(rows)) for arm_id, rows in quotes.items()}
    return {arm_id: terms for arm_id, terms in found.items() if terms is not None}


def _quote(cell: Any, prompt_tokens: Any) -> Quote | None:
    try:
        if not isinstance(cell, dict) or not text(cell, "arm_id"):
            return None
        values = integer({"n": prompt_tokens}, "n"), number(cell, "expected_output_tokens")
        cost_nusd, hold_nusd = integer(cell, "expected_cost_nusd"), integer(cell, "hold_nusd")
    except BadField:
        return None
    if values[0] is None or values[1] is None or cost_nusd is None or hold_nusd is None:
        return None
    return float(values[0]), float(math.ceil(values[1])), float(cost_nusd), float(hold_nusd)


def _terms(quotes: FloatArray) -> ArmPricing | None:
    """The two prices if they explain the quotes (n, 4), and the longest answer that the holds speak of."""
    tokens, costs_nusd = quotes[:, :2], quotes[:, 2]
    if np.linalg.matrix_rank(tokens) < 2:
        return None
    fitted, _ = nnls(tokens, costs_nusd)
    prices = [_price(float(per_token) * TOKENS_PER_MTOK / NUSD_PER_USD) for per_token in fitted]
    per_token = np.array([float(price) for price in prices]) * NUSD_PER_USD / TOKENS_PER_MTOK
    if np.any(np.abs(tokens @ per_token - costs_nusd) > _ROUNDING_NUSD + _RELATIVE * costs_nusd):
        return None
    return ArmPricing(prices[0], prices[1], _longest_answer(quotes, per_token))


def _longest_answer(quotes: FloatArray, per_token: FloatArray) -> int:
    """Output tokens that the holds cover beside the longest reading of the prompt; the shortest prompt tells best."""
    prompt_tokens, holds_nusd = quotes[:, 0], quotes[:, 3]
    if per_token[1] == 0.0:
        return DEFAULT_MAX_OUTPUT_TOKENS
    most_prompt_tokens = BYTES_PER_TOKEN * prompt_tokens + TEMPLATE_TOKENS
    unrounded_nusd = holds_nusd - 1.0
    longest = float(np.max((unrounded_nusd - per_token[0] * most_prompt_tokens) / per_token[1]))
    return int(np.clip(math.ceil(longest), 1, _LONGEST_ANSWER_TOKENS))


def _price(usd_per_mtok: float) -> str:
    """To five significant digits and six decimals: what least squares can tell, and more than price lists have."""
    return f"{float(f'{usd_per_mtok:.5g}'):.6f}"
