"""Preference battles as arrays, and how they are split and weighed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bandit_router.core.regression import FloatArray

IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

OUTCOMES: Mapping[str, float] = {"a": 1.0, "b": 0.0, "tie": 0.5}
"""What the winner's name says of the first arm."""


@dataclass(frozen=True, slots=True, eq=False)
class BattleTable:
    """n battles over K arms about m prompts.

    `first`, `second` (n,): positions in `arm_ids`; `wins` (n,): 1 if the first won, 0 if the second did, ½ for a tie;
    `prompt` (n,): row of the prompt among the m contexts that are kept beside it.
    """

    arm_ids: tuple[str, ...]
    prompt: IndexArray
    first: IndexArray
    second: IndexArray
    wins: FloatArray

    def __len__(self) -> int:
        return len(self.wins)

    def rows(self, index: IndexArray | BoolArray) -> BattleTable:
        """The battles at `index`, of the same arms."""
        return BattleTable(self.arm_ids, self.prompt[index], self.first[index], self.second[index], self.wins[index])


def battle_table(
    prompts: Sequence[str], models_a: Sequence[str], models_b: Sequence[str], winners: Sequence[str]
) -> tuple[BattleTable, tuple[str, ...]]:
    """The table and its distinct prompts, in order of appearance. A model that fights itself is left out.

    Raises KeyError for a winner that is none of `OUTCOMES`.
    """
    kept = [i for i, (a, b) in enumerate(zip(models_a, models_b, strict=True)) if a != b]
    arm_ids = tuple(sorted({models_a[i] for i in kept} | {models_b[i] for i in kept}))
    place = {arm_id: index for index, arm_id in enumerate(arm_ids)}
    distinct = tuple(dict.fromkeys(prompts[i] for i in kept))
    row = {prompt: index for index, prompt in enumerate(distinct)}
    table = BattleTable(
        arm_ids=arm_ids,
        prompt=np.array([row[prompts[i]] for i in kept], dtype=np.int64),
        first=np.array([place[models_a[i]] for i in kept], dtype=np.int64),
        second=np.array([place[models_b[i]] for i in kept], dtype=np.int64),
        wins=np.array([OUTCOMES[winners[i]] for i in kept]),
    )
    return table, distinct


def accuracy(wins: FloatArray, probability: FloatArray) -> float:
    """Share of decided battles whose winner was held for likelier; a draw of the forecast counts half."""
    decided = wins != 0.5
    right = np.where(probability[decided] == 0.5, 0.5, (probability[decided] > 0.5) == (wins[decided] > 0.5))
    return float(right.mean())


def log_loss(wins: FloatArray, probability: FloatArray) -> float:
    """Mean cross-entropy in nats; a tie counts as half a win of either."""
    safe = np.clip(probability, 1e-12, 1.0 - 1e-12)
    return float(-np.mean(wins * np.log(safe) + (1.0 - wins) * np.log1p(-safe)))
