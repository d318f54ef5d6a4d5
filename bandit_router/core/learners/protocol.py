"""What a learner is: a function from a pool's learned state to predictions of reward, and a stance towards choosing.

Learners hold no state of their own. They are fitted afresh from the pool's state with every snapshot, so whichever
learner a pool names is served from everything the pool has seen, and what holds for the state (independence of delay,
order and batching; corrections that leave no trace) holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bandit_router.core.discounted import KEEPS_NOTHING
from bandit_router.core.pool_state import PoolState
from bandit_router.core.prior import Priors
from bandit_router.core.regression import FloatArray
from bandit_router.core.tenancy import Tenancy

Parameters = Mapping[str, float]


class RewardModel(Protocol):
    """Rewards of K arms in contexts of length d. What implements it names it as its base."""

    def predict(self, contexts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected rewards (n, K) at contexts (n, d), and their deviations (n, K): how uncertain, not negative."""
        ...

    def predict_one(self, context: FloatArray) -> tuple[list[float], list[float]]:
        """`predict` at a single context (d,): K rewards and K deviations."""
        rewards, deviations = self.predict(context[None, :])
        return rewards[0].tolist(), deviations[0].tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What a learner may look at, and must not change: the state, the arms asked for, in order, and their priors."""

    state: PoolState
    arm_ids: tuple[str, ...]
    priors: Priors


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A learner fitted to a state.

    An arm's optimistic reward is its expectation plus `alpha` deviations. `uniform_share` of the choices is uniform, on
    top of what the pool's exploration layer explores. `shares` (K,), where given, are in the place of scores, layer and
    price of money: arms are chosen in these proportions.
    """

    rewards: RewardModel
    alpha: float = 0.0
    uniform_share: float = 0.0
    shares: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Learner:
    """A family of learners: the parameters it has, with their defaults, and how it is fitted.

    `check` raises SpecError for parameters that make no sense. `remembers`: of how many recent outcomes the pool's
    state must keep the context and reward, beside its sums. `discounts`: at which γ per reward it must keep discounted
    sums (`core.discounted`). `names_arms`: parameters are arm ids.
    """

    defaults: Parameters
    check: Callable[[Parameters], None]
    fit: Callable[[Knowledge, Parameters], Fitted]
    remembers: Callable[[Parameters], int] = field(default=lambda _: 0)
    discounts: Callable[[Parameters], float] = field(default=lambda _: KEEPS_NOTHING)
    names_arms: bool = False


@dataclass(frozen=True, slots=True)
class LearnerChoice:
    """A learner as a pool has chosen it, and how far its tenants learn from each other."""

    name: str
    parameters: Parameters
    tenancy: Tenancy = field(default_factory=Tenancy)
