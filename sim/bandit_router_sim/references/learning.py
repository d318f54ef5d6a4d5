"""The stretches of a reference that learns."""

from __future__ import annotations

from bandit_router_sim.logs.full import IndexArray
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.setting import Material


class NothingToLearnFrom(ValueError):
    """A reference that learns from full information was given no learning stretch."""


def learning_and_reported(material: Material, *, seed: int, learn_share: float) -> tuple[IndexArray, IndexArray]:
    """Rows to learn from (at least one) and rows to report. Raises NothingToLearnFrom."""
    seen, rows = stretches(len(material.log), seed=seed, learn_share=learn_share)
    if len(seen) == 0:
        raise NothingToLearnFrom(f"{material.log.name}: learn_share {learn_share:g} leaves no row to learn from")
    return seen, rows
