"""A small full-information log, and decision logs made from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.estimators import Rows
from bandit_router_sim.ope.policies import PricedPolicy, TargetPolicy, uniform_mix
from bandit_router_sim.ope.synthesis import Population, population, simulate
from tests.builders import generator

ARMS = ("small", "middle", "large")
LARGE_USD = 0.01
LOGGING = PricedPolicy(price_per_usd=10.0, tau=60.0)
TARGET = PricedPolicy(price_per_usd=40.0, tau=60.0)


def full_log(queries: int = 600, *, seed: int = 1) -> FullLog:
    """Queries of which the harder ones need the larger arms; costs differ tenfold from arm to arm."""
    random = generator(seed)
    hardness = random.random(queries)
    means = np.column_stack([0.9 - 0.6 * hardness, 0.85 - 0.3 * hardness, 0.85 - 0.05 * hardness])
    scores = np.clip(means + 0.1 * random.standard_normal(means.shape), 0.0, 1.0)
    costs = np.array([1e-4, 1e-3, LARGE_USD]) * np.exp(0.4 * random.standard_normal(means.shape))
    nothing = np.full(means.shape, np.nan)
    names = tuple(f"query {index}" for index in range(queries))
    return FullLog(
        name="made up",
        arm_ids=ARMS,
        query_ids=names,
        prompts=names,
        sources=("made up",) * queries,
        splits=("",) * queries,
        scores=scores,
        costs_usd=costs,
        input_tokens=nothing,
        output_tokens=nothing,
    )


def small_population(*, reward_chances: FloatArray | None = None) -> Population:
    """The population of `full_log`, with contexts that tell the hardness roughly."""
    log = full_log()
    hint = log.scores.mean(axis=1)
    contexts = np.column_stack([np.ones(len(log)), hint - hint.mean()])
    return population(log, contexts, reward_chances=reward_chances)


def small_log(policy: TargetPolicy = LOGGING, *, rows: int = 1500, seed: int = 7) -> DecisionLog:
    """A log of that population."""
    return simulate(small_population(), policy, rows=rows, seed=seed)


def uniform_log(*, rows: int = 1500, seed: int = 7) -> DecisionLog:
    """A log in which every arm was as likely."""
    return small_log(uniform_mix(len(ARMS)), rows=rows, seed=seed)


def random_rows(seed: int = 0, *, rows: int = 50, arms: int = 3) -> Rows:
    """Rows of arbitrary numbers, all observed."""
    random = generator(seed)
    target, propensities = (random.dirichlet(np.ones(arms), size=rows) for _ in range(2))
    return Rows(
        target=target,
        propensities=propensities,
        actions=random.integers(0, arms, rows),
        outcomes=random.random(rows),
        observed_weights=np.ones(rows),
        predictions=random.random((rows, arms)),
    )


def with_rewards(log: DecisionLog, rewards: FloatArray) -> DecisionLog:
    """The log with other rewards."""
    return replace(log, rewards=rewards)
