"""Several full-information logs as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.full import FloatArray, FullLog


def concatenate(logs: Sequence[FullLog], *, name: str) -> FullLog:
    """The queries of all logs, in order, over all their arms, in order of first appearance; NaN where a log lacks one.

    Raises UnusableLog where there is no log, or two of them share a query id.
    """
    if not logs:
        raise UnusableLog(name, "there is nothing to read")
    arm_ids = tuple(dict.fromkeys(arm_id for log in logs for arm_id in log.arm_ids))
    query_ids = tuple(query_id for log in logs for query_id in log.query_ids)
    if len(set(query_ids)) < len(query_ids):
        raise UnusableLog(name, "two of its files share a query id")
    return FullLog(
        name=name,
        arm_ids=arm_ids,
        query_ids=query_ids,
        prompts=tuple(prompt for log in logs for prompt in log.prompts),
        sources=tuple(source for log in logs for source in log.sources),
        splits=tuple(split for log in logs for split in log.splits),
        scores=np.vstack([_widened(log.scores, log, arm_ids) for log in logs]),
        costs_usd=np.vstack([_widened(log.costs_usd, log, arm_ids) for log in logs]),
        input_tokens=np.vstack([_widened(log.input_tokens, log, arm_ids) for log in logs]),
        output_tokens=np.vstack([_widened(log.output_tokens, log, arm_ids) for log in logs]),
    )


def _widened(matrix: FloatArray, log: FullLog, arm_ids: Sequence[str]) -> FloatArray:
    """The matrix (n, K) of `log` with a column for each of `arm_ids`."""
    wide = np.full((len(log), len(arm_ids)), np.nan)
    wide[:, [arm_ids.index(arm_id) for arm_id in log.arm_ids]] = matrix
    return wide
