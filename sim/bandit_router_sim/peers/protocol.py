"""What a peer is told, and when.

Before a stretch: how many requests come and how much money there is for them. Before a choice: the request. After it:
the reward and the bill of the arm it chose, and of no other. The runner keeps the budget; a refused choice has no
outcome, so nothing is learned from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bandit_router_sim.logs.full import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What is known before the first request.

    `typical_cost_usd` (K,): what a call of each arm usually costs, as an operator knows it from price lists and
    experience; it is the mean over the learning stretch, so more than the product is told. `dimension`: length of the
    requests' contexts. `budget_usd`: per request. `seed`: for all of a peer's randomness.
    """

    arm_ids: tuple[str, ...]
    typical_cost_usd: FloatArray
    dimension: int
    budget_usd: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request. `number` counts from 0 over both stretches; `context` (dimension,) starts with the intercept."""

    number: int
    row: int
    context: FloatArray
    prompt: str


class Peer(Protocol):
    """A router under comparison, in the state it has learned so far."""

    def begin(self, requests: int, money_usd: float) -> None:
        """A stretch begins: so many requests, so much money for all of them."""
        ...

    def choose(self, request: Request) -> int:
        """The column of an arm."""
        ...

    def learn(self, request: Request, column: int, *, reward: float, cost_usd: float) -> None:
        """The outcome of the choice just made, before the next choice."""
        ...
