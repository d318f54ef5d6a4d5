"""References by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bandit_router_sim.compare.outcome import Outcome
from bandit_router_sim.references import clairvoyant, hindsight_lp, knn, static_mix, supervised_ridge
from bandit_router_sim.replay.setting import Material


class Reference(Protocol):
    """A yardstick on the reported stretch of one order."""

    def __call__(self, material: Material, *, budget_usd: float, seed: int, learn_share: float) -> Outcome:
        """Its outcome at that budget per request."""
        ...


REFERENCES: Mapping[str, Reference] = {
    "static_mix": static_mix.run,
    "supervised_ridge": supervised_ridge.run,
    "knn": knn.run,
    "hindsight_lp": hindsight_lp.run,
    "clairvoyant": clairvoyant.run,
}
