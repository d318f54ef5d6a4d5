"""The learners that a pool can name."""

from __future__ import annotations

from collections.abc import Mapping

from bandit_router.core.learners.linucb import LINUCB
from bandit_router.core.learners.protocol import Learner, LearnerChoice
from bandit_router.core.spec import parse_spec

LEARNERS: Mapping[str, Learner] = {"linucb": LINUCB}
"""Learners by name."""


def parse_learner(text: str) -> LearnerChoice:
    """A learner as a pool names it, such as 'linucb' or 'linucb:alpha=0.2'. Raises SpecError."""
    name, parameters = parse_spec(text, {name: learner.defaults for name, learner in LEARNERS.items()})
    LEARNERS[name].check(parameters)
    return LearnerChoice(name, parameters)
