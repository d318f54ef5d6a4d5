"""Costs for logs that recorded tokens, or nothing, instead of money. They are estimates: say so where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bandit_router_sim.logs.full import FullLog

CHARS_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True)
class ListPrice:
    """A list price in USD per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float


def price_tokens(log: FullLog, prices: Mapping[str, ListPrice]) -> FullLog:
    """The log with tokens × list price wherever it has both token counts and a score but no cost.

    Arms that `prices` does not name stay as they are. Raises KeyError naming an arm that is not in the log.
    """
    costs = log.costs_usd.copy()
    for arm_id, price in prices.items():
        if arm_id not in log.arm_ids:
            raise KeyError(f"{log.name}: no arm {arm_id!r}; the log has {', '.join(log.arm_ids)}")
        k = log.arm_ids.index(arm_id)
        usd = log.input_tokens[:, k] * price.input_usd_per_mtok + log.output_tokens[:, k] * price.output_usd_per_mtok
        costs[:, k] = np.where(np.isnan(costs[:, k]) & np.isfinite(log.scores[:, k]), usd / 1e6, costs[:, k])
    return replace(log, costs_usd=costs)


def estimate_tokens(log: FullLog, *, output_tokens: float) -> FullLog:
    """The log with token counts where it has none: the prompt's length over four, and `output_tokens`."""
    lengths = np.asarray([np.ceil(len(prompt) / CHARS_PER_TOKEN) for prompt in log.prompts]).reshape(-1, 1)
    return replace(
        log,
        input_tokens=np.where(np.isnan(log.input_tokens), lengths, log.input_tokens),
        output_tokens=np.where(np.isnan(log.output_tokens), output_tokens, log.output_tokens),
    )
