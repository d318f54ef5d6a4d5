"""What an exploration layer is: a function from scores to exact choice probabilities.

A layer may use nothing but what a decision's record holds (the quotes' scores and deviations, its own two numbers and
draws that are named by seed and request), so the probabilities can be worked out again from the record, also over the
arms of a later draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bandit_router.core.regression import FloatArray

Normals = Callable[[int], FloatArray]
"""From a number of samples S to standard normal draws (..., S, K): the same draws at every call."""

Layer = Callable[[FloatArray, FloatArray, float, Normals], FloatArray]
"""Probabilities (..., K), rows summing to 1, of scores (..., K), deviations (..., K), a scale and draws."""


@dataclass(frozen=True, slots=True)
class ExplorationFamily:
    """A family of layers: the parameters it has, with their defaults, and how it weighs.

    `configure` gives the layer's scale and the share of choices that are uniform; it raises SpecError for parameters
    that make no sense.
    """

    defaults: Mapping[str, float]
    configure: Callable[[Mapping[str, float]], tuple[float, float]]
    weigh: Layer
