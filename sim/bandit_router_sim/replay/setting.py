"""What one replay is made of. Everything that can change a result is in here, so a setting names its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bandit_router.core.resources import DEFAULT_DIMENSION, DEFAULT_LEARNER, HoldPolicy
from bandit_router_sim.logs.full import FloatArray, FullLog
from bandit_router_sim.replay.scenario import STATIONARY, Scenario


@dataclass(frozen=True, slots=True)
class Policy:
    """The product's settings under test, as a pool and a tenant name them."""

    name: str = "default"
    learner: str = DEFAULT_LEARNER
    exploration: str = "igw"
    budget_policy: str = "replan"
    dimension: int = DEFAULT_DIMENSION
    hold_policy: str = HoldPolicy.WORST_CASE.value


_GREEDY = "epsilon_floor:epsilon=0"

POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(),
        Policy(name="unpaced", budget_policy="none"),
        Policy(name="quantile_holds", hold_policy=HoldPolicy.QUANTILE.value),
        Policy(name="disjoint", learner="linucb"),
        Policy(name="dlinucb", learner="dlinucb"),
        Policy(name="ucb_floor", exploration="epsilon_floor"),
        Policy(name="softmax", exploration="softmax"),
        Policy(name="pilot", learner="pilot"),
        Policy(name="pilot_cosine", learner="pilot:cosine=1"),
        Policy(name="lints", learner="lints", exploration="ts_empirical"),
        Policy(name="epsilon_greedy", learner="epsilon_greedy", exploration=_GREEDY),
        Policy(name="epoch_greedy", learner="epoch_greedy", exploration=_GREEDY),
        Policy(name="knn", learner="knn"),
        Policy(name="static", learner="static", budget_policy="none"),
        Policy(name="threshold", budget_policy="threshold"),
        Policy(name="primal_dual", budget_policy="primal_dual"),
        Policy(name="gradient", budget_policy="primal_dual:mirror=0"),
        Policy(name="log_pacer", budget_policy="primal_dual:mirror=0,log=1"),
    )
}
"""Policies by the name that the commands take."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One replay: a policy under a budget per request, in one seeded order, with what a scenario lets happen.

    The first `learn_share` of the order is the learning stretch, the rest is reported. The learning stretch has a
    budget window of its own, of `budget_usd` times its requests; the windows of the reported stretch share `budget_usd`
    times its requests equally. The learner folds every `fold_every` requests.
    """

    policy: Policy
    budget_usd: float
    seed: int
    learn_share: float = 0.5
    scenario: Scenario = STATIONARY
    fold_every: int = 16


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A log ready to be replayed: complete rows, an embedding per row (n, dim), and the arms' prices.

    `prices` maps an arm to its list prices in decimal USD per million tokens (input, output) and its longest answer in
    tokens; where a log does not tell them they are estimated from its costs (`replay.pricing`).
    """

    log: FullLog
    embeddings: FloatArray
    prices: Mapping[str, ArmPricing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArmPricing:
    """List prices of a replayed arm."""

    input_usd_per_mtok: str
    output_usd_per_mtok: str
    max_output_tokens: int
