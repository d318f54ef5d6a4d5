"""From a log to what a replay needs: complete rows, embeddings, prices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bandit_router.adapters.encoding.factory import make_encoder
from bandit_router_sim.logs.full import FloatArray, FullLog
from bandit_router_sim.replay.pricing import price_by_cost
from bandit_router_sim.replay.setting import Material

_BATCH = 256


class UnusableForReplay(ValueError):
    """The log cannot be replayed; the message says why and what would help."""


def prepare(log: FullLog, *, encoder_id: str = "static", arm_ids: Sequence[str] = ()) -> Material:
    """Material of the rows that all the arms answered with a score and a cost.

    `arm_ids`: the arms to replay; by default all that have a cost anywhere. Raises UnusableForReplay, KeyError.
    """
    costed = [arm for column, arm in enumerate(log.arm_ids) if np.isfinite(log.costs_usd[:, column]).any()]
    chosen = log.with_arms(tuple(arm_ids) or tuple(costed))
    complete = chosen.complete_rows()
    if len(chosen.arm_ids) == 0:
        raise UnusableForReplay(f"{log.name}: no arm has a cost; a budget needs costs")
    if len(complete) == 0:
        raise UnusableForReplay(
            f"{log.name}: no row has a score and a cost of all {len(chosen.arm_ids)} arms; choose fewer arms"
        )
    return Material(log=complete, embeddings=_embed(complete.prompts, encoder_id), prices=price_by_cost(complete))


def _embed(prompts: Sequence[str], encoder_id: str) -> FloatArray:
    encoder = make_encoder(encoder_id)
    batches = [encoder.encode(prompts[start : start + _BATCH]) for start in range(0, len(prompts), _BATCH)]
    return np.concatenate(batches).astype(np.float64)
