"""What the arms promise in one decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload


class ArmQuote(NamedTuple):
    """What one arm promised in one decision. `excluded_because` is empty for a feasible arm."""

    arm_id: str
    expected_reward: float
    uncertainty: float
    expected_output_tokens: float
    expected_cost_nusd: int
    hold_nusd: int
    score: float
    excluded_because: str = ""


class Quotes(Sequence[ArmQuote]):
    """The quotes of a decision's arms, in order: rows to read, kept in columns.

    Columns are what a decision is made from; rows are made when somebody asks for them.
    """

    __slots__ = ("arm_ids", "costs_nusd", "excluded", "holds_nusd", "rewards", "scores", "tokens", "uncertainties")

    def __init__(
        self,
        arm_ids: Sequence[str],
        rewards: Sequence[float],
        uncertainties: Sequence[float],
        tokens: Sequence[float],
        costs_nusd: Sequence[int],
        holds_nusd: Sequence[int],
        scores: Sequence[float],
        excluded: Sequence[str],
    ) -> None:
        """Columns of equal length, which nobody changes any more; they stand in the order of `ArmQuote`'s fields."""
        self.arm_ids = arm_ids
        self.rewards = rewards
        self.uncertainties = uncertainties
        self.tokens = tokens
        self.costs_nusd = costs_nusd
        self.holds_nusd = holds_nusd
        self.scores = scores
        self.excluded = excluded

    @classmethod
    def of(cls, rows: Iterable[Sequence[object]]) -> Quotes:
        """The quotes of these rows, each in the order of `ArmQuote`'s fields. ValueError where one is too short."""
        columns: list[tuple[object, ...]] = list(zip(*rows, strict=True)) or [()] * len(ArmQuote._fields)
        return cls(*columns)  # type: ignore[arg-type]

    def rows(self) -> Iterator[tuple[str, float, float, float, int, int, float, str]]:
        """A plain tuple per arm."""
        return zip(
            self.arm_ids,
            self.rewards,
            self.uncertainties,
            self.tokens,
            self.costs_nusd,
            self.holds_nusd,
            self.scores,
            self.excluded,
            strict=True,
        )

    def __len__(self) -> int:
        return len(self.arm_ids)

    @overload
    def __getitem__(self, position: int) -> ArmQuote: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[ArmQuote, ...]: ...

    def __getitem__(self, position: int | slice) -> ArmQuote | tuple[ArmQuote, ...]:
        """One arm's quote, or those of a slice."""
        if isinstance(position, slice):
            return tuple(self)[position]
        return ArmQuote(
            self.arm_ids[position],
            self.rewards[position],
            self.uncertainties[position],
            self.tokens[position],
            self.costs_nusd[position],
            self.holds_nusd[position],
            self.scores[position],
            self.excluded[position],
        )

    def __iter__(self) -> Iterator[ArmQuote]:
        return map(ArmQuote._make, self.rows())

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Quotes) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Quotes.of({list(self)!r})"
