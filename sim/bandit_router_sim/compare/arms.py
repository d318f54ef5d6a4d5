"""Which arms of a log with dozens of them are compared: lists chosen once by `choose_arms`, then fixed.

Arms that answered most rows, spread over the logarithm of cost: in each band the best arm, every arm on the envelope
of (mean cost, mean reward), and two that are dominated, one cheap and one dear, as pools in the wild have them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bandit_router.core.frontier import concave_envelope
from bandit_router_sim.logs.full import FloatArray, FullLog, IndexArray

ARM_LISTS: Mapping[str, tuple[str, ...]] = {
    "mmlu_pro": (
        "Phi-3-mini-4k-instruct",
        "gemini-1.5-flash-002",
        "Llama-2-7b-hf",
        "DeepSeek-Coder-V2",
        "Meta-Llama-3-8B",
        "Yi-34B",
        "Meta-Llama-3_1-70B-Instruct",
        "gemini-1.5-pro-002",
        "gemini-3.1-pro-preview",
        "gpt-4o-2024-05-13",
    ),
    "zeroeval": (
        "gemma-2-2b-it",
        "Phi-3.5-mini-instruct",
        "gemini-1.5-flash",
        "deepseek-v2.5-0908",
        "Meta-Llama-3-8B-Instruct",
        "gpt-4o-mini-2024-07-18",
        "Meta-Llama-3.1-70B-Instruct",
        "o1-mini-2024-09-12",
        "claude-3-5-sonnet-20241022",
        "reka-core-20240501",
        "claude-3-opus-20240229",
    ),
}
"""By the log's name (`count` was 10 for the first, 9 for the second). Logs not listed are compared with all arms."""

_LEAST_COVERAGE = 0.8


def choose_arms(log: FullLog, *, count: int = 10) -> tuple[str, ...]:
    """About `count` arms (at least 4) in order of mean cost."""
    columns = _well_covered(log)
    complete = log.with_arms([log.arm_ids[column] for column in columns.tolist()]).complete_rows()
    costs_usd, rewards = complete.costs_usd.mean(axis=0), complete.scores.mean(axis=0)
    chosen = set(concave_envelope(costs_usd, rewards)) | _best_of_bands(costs_usd, rewards, bands=count - 2)
    chosen |= _dominated(costs_usd, rewards, spared=chosen)
    return tuple(complete.arm_ids[index] for index in sorted(chosen, key=lambda index: float(costs_usd[index])))


def _well_covered(log: FullLog) -> IndexArray:
    """Columns that answer nearly as many rows as the best covered one."""
    answered = np.sum(np.isfinite(log.scores) & np.isfinite(log.costs_usd), axis=0)
    return np.flatnonzero(answered >= _LEAST_COVERAGE * answered.max())


def _best_of_bands(costs_usd: FloatArray, rewards: FloatArray, *, bands: int) -> set[int]:
    edges = np.geomspace(costs_usd.min(), costs_usd.max(), bands + 1)[1:-1]
    band = np.digitize(costs_usd, edges)
    members = [np.flatnonzero(band == index) for index in range(bands)]
    return {int(arms[np.argmax(rewards[arms])]) for arms in members if len(arms)}


def _dominated(costs_usd: FloatArray, rewards: FloatArray, *, spared: set[int]) -> set[int]:
    """The arm furthest below the envelope among the cheaper half and among the dearer half of those not chosen."""
    hull = concave_envelope(costs_usd, rewards)
    shortfall = np.interp(costs_usd, costs_usd[hull], rewards[hull]) - rewards
    others = [int(index) for index in np.argsort(costs_usd) if int(index) not in spared]
    halves = (others[: len(others) // 2], others[len(others) // 2 :])
    return {max(half, key=lambda index: float(shortfall[index])) for half in halves if half}
