"""The learners that a pool can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from bandit_router.core.learners.dlinucb import DLINUCB
from bandit_router.core.learners.epoch_greedy import EPOCH_GREEDY
from bandit_router.core.learners.epsilon_greedy import EPSILON_GREEDY
from bandit_router.core.learners.hierarchical import HIERARCHICAL
from bandit_router.core.learners.knn import KNN
from bandit_router.core.learners.lints import LINTS
from bandit_router.core.learners.linucb import LINUCB
from bandit_router.core.learners.pilot import PILOT
from bandit_router.core.learners.protocol import Learner, LearnerChoice
from bandit_router.core.learners.static import STATIC
from bandit_router.core.pool_state import PoolState
from bandit_router.core.spec import parse_shares, parse_spec
from bandit_router.core.tenancy import Tenancy, check_tenancy

LEARNERS: Mapping[str, Learner] = {
    "hierarchical": HIERARCHICAL,
    "linucb": LINUCB,
    "dlinucb": DLINUCB,
    "pilot": PILOT,
    "lints": LINTS,
    "epsilon_greedy": EPSILON_GREEDY,
    "epoch_greedy": EPOCH_GREEDY,
    "knn": KNN,
    "static": STATIC,
}
"""Learners by name."""


def parse_learner(text: str) -> LearnerChoice:
    """A learner as a pool names it, such as 'linucb' or 'linucb:alpha=0.2,voice=50'. Raises SpecError."""
    if text.partition(":")[0] in _NAMING_ARMS:
        name, parameters = parse_shares(text)
        tenancy = Tenancy()
    else:
        name, parameters = parse_spec(text, _KNOWN)
        tenancy = Tenancy(**{key: parameters.pop(key) for key in _TENANCY})
    check_tenancy(tenancy)
    LEARNERS[name].check(parameters)
    return LearnerChoice(name, parameters, tenancy)


def remembered_by(choice: LearnerChoice) -> int:
    """Of how many recent outcomes the pool's state must keep the context and reward."""
    return LEARNERS[choice.name].remembers(choice.parameters)


def keep_for(choice: LearnerChoice, state: PoolState) -> None:
    """Let the state keep from now on what the learner asks for beside the sums, and nothing that it does not."""
    state.examples.resize(remembered_by(choice))
    state.discount(LEARNERS[choice.name].discounts(choice.parameters))


_TENANCY = asdict(Tenancy())
_KNOWN = {name: {**learner.defaults, **_TENANCY} for name, learner in LEARNERS.items()}
_NAMING_ARMS = frozenset(name for name, learner in LEARNERS.items() if learner.names_arms)
