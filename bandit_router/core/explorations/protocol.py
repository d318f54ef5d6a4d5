"""What an exploration layer is: a function from scores to exact choice probabilities.

A layer may use nothing but what a decision's record holds (the quotes' scores and deviations, its own two numbers and
draws that are named by seed and request), so the probabilities can be worked out again from the record, also over the
arms of a later draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bandit_router.core.regression import FloatArray

Normals = Callable[[int], FloatArray]
"""From a number of samples S to standard normal draws (..., S, K): the same draws at every call."""

Layer = Callable[[FloatArray, FloatArray, float, Normals], FloatArray]
"""Probabilities (..., K), rows summing to 1, of scores (..., K), deviations (..., K), a scale and draws."""


NearLayer = Callable[[FloatArray, FloatArray, Normals], FloatArray]
"""A layer at a scale of its own, called with scores (n, K) of the same queries that move from call to call."""

LayerOfOne = Callable[[Sequence[float], float], list[float]]
"""Probabilities of the scores of a single query at a scale, in plain floats."""


@dataclass(frozen=True, slots=True)
class ExplorationFamily:
    """A family of layers: the parameters it has, with their defaults, and how it weighs.

    `configure` gives the layer's scale and the share of choices that are uniform; it raises SpecError for parameters
    that make no sense. `weigh_one`: the same for a single query, where it is faster and needs no more than scores.
    `near`: from a scale to a layer that may take up what it found for the last scores, where that is faster.
    """

    defaults: Mapping[str, float]
    configure: Callable[[Mapping[str, float]], tuple[float, float]]
    weigh: Layer
    weigh_one: LayerOfOne | None = None
    near: Callable[[float], NearLayer] | None = None
