"""A log without text whose outcomes follow the embeddings, so that looking at the query pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bandit_router_sim.logs.full import FullLog, IndexArray
from bandit_router_sim.replay.pricing import price_by_cost
from bandit_router_sim.replay.setting import Material
from tests.builders import generator

ARM_IDS = ("small", "medium", "large")
MEAN_COSTS_USD = (1e-4, 5e-4, 4e-3)


def make_material(count: int = 400, *, seed: int = 0, dimension: int = 32, name: str = "synthetic") -> Material:
    """The larger the arm the better on average; which one is good at a query depends on its embedding,
    whose leading coordinates vary most.
    """
    source = generator(seed)
    scales = 0.7 ** np.arange(dimension)
    embeddings = source.normal(size=(count, dimension)) * scales / np.linalg.norm(scales)
    tastes = source.normal(size=(dimension, len(ARM_IDS)))
    level = np.array([0.45, 0.6, 0.7])
    scores = np.clip(level + 0.3 * embeddings @ tastes + 0.1 * source.normal(size=(count, len(ARM_IDS))), 0.0, 1.0)
    costs_usd = np.asarray(MEAN_COSTS_USD) * source.lognormal(-0.08, 0.4, size=(count, len(ARM_IDS)))
    unknown = np.full((count, len(ARM_IDS)), np.nan)
    log = FullLog(
        name=name,
        arm_ids=ARM_IDS,
        query_ids=tuple(str(index) for index in range(count)),
        prompts=tuple(f"query {index}" for index in range(count)),
        sources=("",) * count,
        splits=("",) * count,
        scores=scores,
        costs_usd=costs_usd,
        input_tokens=unknown,
        output_tokens=unknown,
    )
    return Material(log, embeddings, price_by_cost(log))


def with_other_outcomes(material: Material, rows: IndexArray) -> Material:
    """The same queries, with the rewards and costs of these rows replaced."""
    scores, costs_usd = material.log.scores.copy(), material.log.costs_usd.copy()
    scores[rows] = 1.0 - scores[rows]
    costs_usd[rows] = costs_usd[rows][:, ::-1]
    return Material(replace(material.log, scores=scores, costs_usd=costs_usd), material.embeddings, material.prices)


def mean_costs(material: Material) -> npt.NDArray[np.float64]:
    """Mean cost per arm in USD."""
    means: npt.NDArray[np.float64] = material.log.costs_usd.mean(axis=0)
    return means
