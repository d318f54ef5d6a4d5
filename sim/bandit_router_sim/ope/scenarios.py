"""Who made the log and who is evaluated: the pairs on which coverage is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router_sim.logs.decisions import FloatArray
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.ope.policies import PricedPolicy, TargetPolicy, fixed_arm, uniform_mix
from bandit_router_sim.ope.synthesis import Population, population

_MOST_SOURCES = 20
_LENGTH_CENTRE = 7.0
_LENGTH_SCALE = 1.5
_BROAD_TAU = 100.0
_MIDDLE_TAU = 400.0
_NARROW_TAU = 1500.0


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A population, the policy that logs and the one to evaluate."""

    name: str
    source: Population
    logging: TargetPolicy
    target: TargetPolicy


def simple_contexts(log: FullLog) -> FloatArray:
    """Contexts (n, d) without an encoder: intercept, centred log of the prompt's length, one column a common source."""
    lengths = (np.log1p([len(prompt) for prompt in log.prompts]) - _LENGTH_CENTRE) / _LENGTH_SCALE
    roots = np.array(_groups(log.sources))
    common = [name for name, _ in Counter(roots.tolist()).most_common(_MOST_SOURCES)]
    return np.column_stack([np.ones(len(log)), lengths, *((roots == name).astype(np.float64) for name in common)])


def scenarios(log: FullLog) -> tuple[Scenario, ...]:
    """The pairs, from even weights to weights as uneven as those of the served default, then with missing rewards.

    Prices are in units of 1 / (mean cost of the dearest arm), so that they mean alike on every log.
    """
    source = population(log, simple_contexts(log))
    partial = population(log, source.situations.contexts, reward_chances=_chances(source))
    unit = 1.0 / float(log.costs_usd.mean(axis=0).max())
    best = log.arm_ids[int(np.argmax(log.scores.mean(axis=0)))]
    everyone = uniform_mix(len(log.arm_ids))
    return (
        Scenario("uniform log, best fixed arm", source, everyone, fixed_arm(log.arm_ids, best)),
        Scenario("uniform log, price 1", source, everyone, PricedPolicy(unit, _NARROW_TAU)),
        Scenario("tau 100, another price", source, _priced(0.1, unit, _BROAD_TAU), _priced(1.0, unit, _BROAD_TAU)),
        Scenario("tau 400, another price", source, _priced(0.1, unit, _MIDDLE_TAU), _priced(0.3, unit, _MIDDLE_TAU)),
        Scenario("tau 1500, another price", source, _priced(0.1, unit, _NARROW_TAU), _priced(0.3, unit, _NARROW_TAU)),
        Scenario("tau 1500, a far price", source, _priced(0.1, unit, _NARROW_TAU), _priced(10.0, unit, _NARROW_TAU)),
        Scenario("tau 100, rewards missing", partial, _priced(0.1, unit, _BROAD_TAU), _priced(1.0, unit, _BROAD_TAU)),
    )


def _groups(sources: Sequence[str]) -> list[str]:
    """Sources by what stands before their '/', unless that is the same for all."""
    roots = [source.partition("/")[0] for source in sources]
    return roots if len(set(roots)) > 1 else list(sources)


def _priced(price: float, unit: float, tau: float) -> PricedPolicy:
    return PricedPolicy(price * unit, tau)


def _chances(source: Population) -> FloatArray:
    """Rewards observed in 80 % of calls of the first arm down to 40 % of the last, less often for longer prompts."""
    arms = np.linspace(0.8, 0.4, source.log.scores.shape[1])
    lengths = source.situations.contexts[:, 1]
    return np.clip(arms[None, :] - 0.15 * lengths[:, None], 0.1, 0.95)
