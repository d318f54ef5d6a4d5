"""Simulated decision logs with a known truth, for tests of the estimators and for the coverage benchmark.

A log is n requests drawn with replacement from the queries of a full-information log, each answered by an arm drawn
from the logging policy. The value of a policy over the distribution of such requests is then exactly its mean over the
population, and rows of a log are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.decisions import BoolArray, DecisionLog, FloatArray, IndexArray
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.outcome_models import COST, REWARD, Observations, OutcomeKind, cross_fitted, folds_of
from bandit_router_sim.ope.policies import Situations, TargetPolicy

_STEP_MS = 1000
_QUOTE_FOLDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """N queries: what is known before a choice, every arm's outcome, and the probability that it would be observed."""

    log: FullLog
    situations: Situations
    reward_chances: FloatArray

    def value(self, policy: TargetPolicy) -> tuple[float, float]:
        """The truth: the policy's reward and its cost in USD, per request."""
        weights = policy(self.situations)
        return (
            float(np.sum(weights * self.log.scores) / len(self.log)),
            float(np.sum(weights * self.log.costs_usd) / len(self.log)),
        )


def population(
    log: FullLog, contexts: FloatArray, *, feasible: BoolArray | None = None, reward_chances: FloatArray | None = None
) -> Population:
    """A population from a log of complete rows and its contexts (N, d).

    Quotes are ridge predictions from the other half of the queries: about what a learner would know. `reward_chances`
    (N, K), by default 1: how likely each arm's reward is observed.
    """
    shape = log.scores.shape
    return Population(
        log=log,
        situations=Situations(
            contexts=contexts,
            expected_rewards=_quotes(log.query_ids, contexts, log.scores, REWARD),
            expected_costs_usd=_quotes(log.query_ids, contexts, log.costs_usd, COST),
            feasible=np.ones(shape, dtype=np.bool_) if feasible is None else feasible,
        ),
        reward_chances=np.ones(shape) if reward_chances is None else reward_chances,
    )


def simulate(source: Population, policy: TargetPolicy, *, rows: int, seed: int) -> DecisionLog:
    """A log of `rows` decisions by `policy` on requests drawn with replacement; the same for the same seed."""
    random = np.random.Generator(np.random.PCG64(seed))
    picked = random.integers(0, len(source.log), rows)
    propensities = policy(source.situations)[picked]
    actions = _draw(propensities, random.random(rows))
    outcome = (picked, actions)
    is_observed = random.random(rows) < source.reward_chances[outcome]
    decided_ms = np.arange(rows, dtype=np.int64) * _STEP_MS
    return DecisionLog(
        name=f"{source.log.name} by {policy.name}, seed {seed}",
        arm_ids=source.log.arm_ids,
        decision_ids=tuple(f"{seed}-{index}" for index in range(rows)),
        tenant_ids=("simulated",) * rows,
        contexts=source.situations.contexts[picked],
        feasible=source.situations.feasible[picked],
        propensities=propensities,
        actions=actions,
        rewards=np.where(is_observed, source.log.scores[outcome], np.nan),
        costs_usd=source.log.costs_usd[outcome],
        expected_rewards=source.situations.expected_rewards[picked],
        expected_costs_usd=source.situations.expected_costs_usd[picked],
        prices_per_usd=np.zeros(rows),
        decided_ms=decided_ms,
        observed_ms=decided_ms + 1,
        sessions=("",) * rows,
    )


def _quotes(query_ids: Sequence[str], contexts: FloatArray, outcomes: FloatArray, kind: OutcomeKind) -> FloatArray:
    """Predictions (N, K) of full-information outcomes, arm by arm."""
    fold = folds_of(query_ids, _QUOTE_FOLDS)
    always = np.zeros(len(contexts), dtype=np.int64)
    columns = [cross_fitted(Observations(contexts, always, column, 1), kind, fold)[:, 0] for column in outcomes.T]
    return np.column_stack(columns)


def _draw(probabilities: FloatArray, uniforms: FloatArray) -> IndexArray:
    """The arm (n,) that each uniform number selects; never one of probability 0."""
    cumulative = np.cumsum(probabilities, axis=1)
    scaled = uniforms * cumulative[:, -1]
    passed: IndexArray = np.sum(scaled[:, None] >= cumulative, axis=1).astype(np.int64)
    return passed
