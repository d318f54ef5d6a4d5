"""`knn`: an arm's reward is the mean over its k nearest recent examples (as benchmarked in arXiv 2505.12601).

    q = (w · level + Σ_{i ∈ N_k(x)} r_i) / (w + |N_k(x)|),   deviation = 1 / √(w + |N_k(x)|)

N_k(x): the k examples of the arm nearest to x by the angle of contexts without their intercept; w = `weight`: the
prior counts as so many examples. The pool's state keeps the latest `buffer` examples of all arms together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandit_router.core.examples import Example
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters, RewardModel
from bandit_router.core.regression import FloatArray
from bandit_router.core.spec import SpecError

MAX_BUFFER = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class NearestRewards(RewardModel):
    """Examples of every arm: unit directions (m_a, d − 1) and rewards (m_a,)."""

    directions: tuple[FloatArray, ...]
    rewards: tuple[FloatArray, ...]
    neighbours: int
    level: float
    weight: float

    def predict(self, contexts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Shrunken means of the nearest rewards and 1/√(how many), (n, K)."""
        asked = _directions(contexts)
        means, deviations = np.empty((2, len(contexts), len(self.rewards)))
        for arm, (directions, rewards) in enumerate(zip(self.directions, self.rewards, strict=True)):
            nearest = self._nearest(asked @ directions.T)
            total = self.weight + nearest.shape[1]
            means[:, arm] = (self.weight * self.level + rewards[nearest].sum(axis=1)) / total
            deviations[:, arm] = total**-0.5
        return means, deviations

    def _nearest(self, similarities: FloatArray) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
        """Columns of the k largest similarities (n, m) of each row."""
        count = similarities.shape[1]
        if count <= self.neighbours:
            return np.tile(np.arange(count), (len(similarities), 1))
        return np.argpartition(-similarities, self.neighbours - 1, axis=1)[:, : self.neighbours]


def _directions(contexts: FloatArray) -> FloatArray:
    slopes = contexts[:, 1:]
    lengths = np.linalg.norm(slopes, axis=1, keepdims=True)
    scaled: FloatArray = slopes / np.where(lengths > 0.0, lengths, 1.0)
    return scaled


def _check(parameters: Parameters) -> None:
    for key, least, most in (("k", 1, MAX_BUFFER), ("buffer", 1, MAX_BUFFER)):
        value = parameters[key]
        if not (least <= value <= most and value == int(value)):
            raise SpecError(f"knn:{key} must be a whole number in {least}..{most}, got {value:g}")
    if parameters["weight"] <= 0.0:
        raise SpecError(f"knn:weight must be positive, got {parameters['weight']:g}")
    if parameters["alpha"] < 0.0:
        raise SpecError(f"knn:alpha must not be negative, got {parameters['alpha']:g}")


def _content(example: Example) -> tuple[int, float, bytes]:
    """An order by what an example says, not by its random id: it decides among equally near ones, and last digits."""
    assert example.reward is not None
    return example.decided_ms, example.reward, example.context.tobytes()


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    slopes = knowledge.state.dimension - 1
    found = sorted(knowledge.state.examples.rewarded(), key=_content)
    examples = [[example for example in found if example.arm_id == arm_id] for arm_id in knowledge.arm_ids]
    model = NearestRewards(
        directions=tuple(
            _directions(np.array([example.context for example in arm], dtype=np.float64).reshape(-1, slopes + 1))
            for arm in examples
        ),
        rewards=tuple(np.array([example.reward for example in arm], dtype=np.float64) for arm in examples),
        neighbours=int(parameters["k"]),
        level=parameters["level"],
        weight=parameters["weight"],
    )
    return Fitted(model, alpha=parameters["alpha"])


KNN = Learner(
    defaults={"k": 20.0, "buffer": 2_000.0, "alpha": 0.1, "level": 0.8, "weight": 1.0},
    check=_check,
    fit=_fit,
    remembers=lambda parameters: int(parameters["buffer"]),
)
