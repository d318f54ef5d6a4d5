"""Bad rows of one file, gathered while its columns are checked and settled once at the end.

Columns are checked one after the other, so the first bad row is known only when all of them have been seen. A row
counts once, under the rule that the first check found broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bandit_router_sim.logs.errors import BadRow
from bandit_router_sim.logs.full import IndexArray

PathLike = str | Path
OnBad = Callable[[BadRow], None]


@dataclass(frozen=True, slots=True)
class SkippedRows:
    """How many rows were left out, by the rule that they broke."""

    by_rule: Mapping[str, int]

    @classmethod
    def of(cls, bad_rows: Iterable[BadRow]) -> SkippedRows:
        """The count of these."""
        return cls(dict(Counter(bad.rule for bad in bad_rows)))

    @property
    def total(self) -> int:
        """Rows left out."""
        return sum(self.by_rule.values())


class Findings:
    """The bad rows of `file` found so far."""

    def __init__(self, file: PathLike) -> None:
        self.file = str(file)
        self._bad: dict[int, BadRow] = {}

    def add(self, row: int, column: str, rule: str, found: str = "") -> None:
        """Note that `row` (1-based) breaks `rule`; only the first note of a row is kept."""
        if row not in self._bad:
            self._bad[row] = BadRow(self.file, row=row, column=column, rule=rule, found=found)

    def is_bad(self, row: int) -> bool:
        """Whether a rule was found broken in `row` (1-based)."""
        return row in self._bad

    def settle(self, length: int, *, on_bad: OnBad | None) -> IndexArray:
        """Positions (0-based) of the good ones among `length` rows.

        Without `on_bad` the first bad row is raised; with it, it is called for each of them in order.
        """
        for row in sorted(self._bad):
            if on_bad is None:
                raise self._bad[row]
            on_bad(self._bad[row])
        return np.asarray([i for i in range(length) if i + 1 not in self._bad], dtype=np.int64)
