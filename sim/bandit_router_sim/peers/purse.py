"""What a bandit without money needs around it to keep a budget: the money left, and what each arm's bills have been."""

from __future__ import annotations

import numpy as np

from bandit_router_sim.logs.full import FloatArray

_PRIOR_BILLS = 5.0
"""The typical cost of an arm counts as so many bills."""


class Purse:
    """Money and requests left of the stretch, and the mean bill (K,) of each arm over all stretches."""

    def __init__(self, typical_cost_usd: FloatArray) -> None:
        self._sums_usd = _PRIOR_BILLS * typical_cost_usd
        self._counts = np.full(len(typical_cost_usd), _PRIOR_BILLS)
        self._requests_left = 0
        self._left_usd = 0.0

    @property
    def mean_bills_usd(self) -> FloatArray:
        """Mean bill per arm (K,)."""
        return np.asarray(self._sums_usd / self._counts)

    @property
    def pace_usd(self) -> float:
        """Money left per request left, never negative."""
        return max(0.0, self._left_usd) / max(1, self._requests_left)

    def begin(self, requests: int, money_usd: float) -> None:
        """A stretch begins."""
        self._requests_left, self._left_usd = requests, money_usd

    def asked(self) -> None:
        """A request was taken on, whether it will be served or not."""
        self._requests_left -= 1

    def billed(self, column: int, cost_usd: float) -> None:
        """A served request's bill."""
        self._sums_usd[column] += cost_usd
        self._counts[column] += 1.0
        self._left_usd -= cost_usd
