"""How often the intervals hold the truth on simulated logs of one scenario, and how far the estimates are from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from bandit_router_sim.logs.decisions import FloatArray
from bandit_router_sim.ope.diagnostics import MIN_EFFECTIVE_ROWS
from bandit_router_sim.ope.evaluate import Evaluation, OutcomeEvaluation, evaluate_prepared
from bandit_router_sim.ope.policies import Situations
from bandit_router_sim.ope.prepare import Options, prepare
from bandit_router_sim.ope.scenarios import Scenario
from bandit_router_sim.ope.synthesis import simulate

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Score:
    """One kind of estimate over many logs: bias and root mean squared error, coverage and mean width of intervals."""

    bias: float
    rmse: float
    normal: float
    bootstrap: float
    width: float


@dataclass(frozen=True, slots=True)
class OutcomeCoverage:
    """One outcome of one scenario: scores by estimator; coverage and mean width by guaranteed interval."""

    truth: float
    scores: Mapping[str, Score]
    guaranteed: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class ScenarioCoverage:
    """One scenario: logs, their mean effective rows, the share that `evaluate` would have refused, and the outcomes."""

    name: str
    logs: int
    effective_rows: float
    refused_share: float
    reward: OutcomeCoverage
    cost: OutcomeCoverage


def measure(scenario: Scenario, *, logs: int, rows: int, seed: int = 0) -> ScenarioCoverage:
    """Simulate `logs` logs of `rows` decisions and evaluate each of them, also those that would be refused.

    Their seeds come from `seed`, the scenario's name and the number of the log, so that scenarios share no luck.
    """
    truth_reward, truth_cost = scenario.source.value(scenario.target)
    bound = float(scenario.source.log.costs_usd.max())
    seeds = [_seed_of(f"{seed}:{scenario.name}:{index}") for index in range(logs)]
    evaluations = [_evaluate(scenario, rows=rows, seed=own, cost_bound_usd=bound) for own in seeds]
    rewards = [evaluation.reward for evaluation in evaluations if evaluation.reward]
    costs = [evaluation.cost for evaluation in evaluations if evaluation.cost]
    effective = np.array([found.weights.effective_rows for found in rewards if found.weights])
    return ScenarioCoverage(
        name=scenario.name,
        logs=len(rewards),
        effective_rows=float(effective.mean()),
        refused_share=float(np.mean(effective < MIN_EFFECTIVE_ROWS)),
        reward=_summarise(rewards, truth_reward),
        cost=_summarise(costs, truth_cost),
    )


def _seed_of(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "little")


def _evaluate(scenario: Scenario, *, rows: int, seed: int, cost_bound_usd: float) -> Evaluation:
    log = simulate(scenario.source, scenario.logging, rows=rows, seed=seed)
    options = Options(resamples=_RESAMPLES, seed=seed, cost_bound_usd=cost_bound_usd, is_forced=True)
    return evaluate_prepared(prepare(log, options), scenario.target(Situations.of(log)), name=scenario.target.name)


def _summarise(found: Sequence[OutcomeEvaluation], truth: float) -> OutcomeCoverage:
    names = found[0].readings
    kinds = found[0].guaranteed
    return OutcomeCoverage(
        truth=truth,
        scores={name: _score(found, name, truth) for name in names},
        guaranteed={
            kind: (
                float(np.mean([one.guaranteed[kind].covers(truth) for one in found])),
                float(np.mean([one.guaranteed[kind].width for one in found])),
            )
            for kind in kinds
        },
    )


def _score(found: Sequence[OutcomeEvaluation], name: str, truth: float) -> Score:
    readings = [one.readings[name] for one in found]
    values: FloatArray = np.array([reading.value for reading in readings])
    return Score(
        bias=float(values.mean() - truth),
        rmse=float(np.sqrt(np.mean(np.square(values - truth)))),
        normal=float(np.mean([reading.normal.covers(truth) for reading in readings])),
        bootstrap=float(np.mean([reading.bootstrap.covers(truth) for reading in readings])),
        width=float(np.mean([reading.normal.width for reading in readings])),
    )
