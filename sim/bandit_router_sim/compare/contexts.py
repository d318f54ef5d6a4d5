"""The product's own context vectors, so that references and peers see the features that the product sees."""

from __future__ import annotations

import math

import numpy as np

from bandit_router.core.context import build_context, expected_prompt_tokens
from bandit_router.core.projection import identity_projection
from bandit_router.core.resources import DEFAULT_DIMENSION
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.replay.setting import Material


def contexts_of(material: Material, *, dimension: int = DEFAULT_DIMENSION) -> FloatArray:
    """Contexts (n, 2 + dimension) of all rows: intercept, prompt length, leading coordinates of the embedding.

    Material with shorter embeddings gives all the coordinates there are.
    """
    available = material.embeddings.shape[1]
    projection = identity_projection(available, min(dimension, available))
    projected = projection.apply(material.embeddings)
    rows = [
        build_context(projected[row], prompt_tokens=prompt_tokens(material, row), names=(), features={})
        for row in range(len(material.log))
    ]
    return np.asarray(rows, dtype=np.float64)


def whitened(contexts: FloatArray) -> FloatArray:
    """Contexts (n, d) with every coordinate but the intercept centred and scaled to unit variance over the log."""
    deviation = contexts.std(axis=0)
    scaled = (contexts - contexts.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0)
    scaled[:, 0] = 1.0
    return np.asarray(scaled)


def prompt_tokens(material: Material, row: int) -> int:
    """Tokens of a prompt as a replay states them: the log's count where it has one, else by length."""
    known = [count for count in material.log.input_tokens[row].tolist() if math.isfinite(count)]
    return int(known[0]) if known else expected_prompt_tokens(len(material.log.prompts[row].encode()))
