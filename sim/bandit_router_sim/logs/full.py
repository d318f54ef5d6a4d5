"""A full-information log in memory: every arm's score and cost for every query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class FullLog:
    """n queries and K arms. Arrays (n, K) hold NaN where the log has no value.

    `scores` in [0, 1]; `costs_usd` >= 0; `input_tokens`, `output_tokens` >= 0 (all NaN where the log has none).
    """

    name: str
    arm_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    splits: tuple[str, ...]
    scores: FloatArray
    costs_usd: FloatArray
    input_tokens: FloatArray
    output_tokens: FloatArray

    def __len__(self) -> int:
        return len(self.query_ids)

    def rows(self, index: IndexArray | Sequence[int]) -> FullLog:
        """The log of the queries at `index`, in that order."""
        positions = np.asarray(index, dtype=np.int64)

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in positions)

        return replace(
            self,
            query_ids=pick(self.query_ids),
            prompts=pick(self.prompts),
            sources=pick(self.sources),
            splits=pick(self.splits),
            scores=self.scores[positions],
            costs_usd=self.costs_usd[positions],
            input_tokens=self.input_tokens[positions],
            output_tokens=self.output_tokens[positions],
        )

    def with_arms(self, arm_ids: Sequence[str]) -> FullLog:
        """The log of these arms, in that order. Raises KeyError naming an arm that is not in the log."""
        unknown = [arm_id for arm_id in arm_ids if arm_id not in self.arm_ids]
        if unknown:
            raise KeyError(f"{self.name}: no arm {unknown[0]!r}; the log has {', '.join(self.arm_ids)}")
        columns = [self.arm_ids.index(arm_id) for arm_id in arm_ids]
        return replace(
            self,
            arm_ids=tuple(arm_ids),
            scores=self.scores[:, columns],
            costs_usd=self.costs_usd[:, columns],
            input_tokens=self.input_tokens[:, columns],
            output_tokens=self.output_tokens[:, columns],
        )

    def complete_rows(self) -> FullLog:
        """The queries that every arm answered with a score and a cost."""
        known = np.isfinite(self.scores).all(axis=1) & np.isfinite(self.costs_usd).all(axis=1)
        return self.rows(np.flatnonzero(known))
