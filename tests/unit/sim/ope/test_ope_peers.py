"""The estimators against an independent implementation: coba's, whose model of the outcome is Vowpal Wabbit's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bandit_router_sim.logs.decisions import DecisionLog, FloatArray
from bandit_router_sim.ope.estimators import Rows, dm, dr, ips, snips
from bandit_router_sim.ope.policies import Situations
from tests.unit.sim.ope.ope_logs import ARMS, TARGET, small_log

NEEDED = "the cross-check needs two packages: pip install coba==8.1.0 vowpalwabbit==9.11.9"

pytest.importorskip("vowpalwabbit", reason=NEEDED)
filters = pytest.importorskip("coba.environments.filters", reason=NEEDED)

LOG = small_log(rows=400)
SINGLE_PRECISION = 1e-6


def peer_rewards(kind: str, log: DecisionLog, rewards: FloatArray) -> FloatArray:
    """coba's estimate (n, K) of every arm's reward in every row: 'IPS', 'DM' or 'DR'."""
    propensities = np.take_along_axis(log.propensities, log.actions[:, None], axis=1)[:, 0]
    interactions: list[dict[str, Any]] = [
        {
            "context": tuple(log.contexts[row].tolist()),
            "actions": list(ARMS),
            "action": ARMS[log.actions[row]],
            "reward": float(rewards[row]),
            "probability": float(propensities[row]),
        }
        for row in range(len(log))
    ]
    estimated = [
        [interaction["rewards"](arm) for arm in ARMS] for interaction in filters.OpeRewards(kind).filter(interactions)
    ]
    return np.array(estimated)


def peer_value(kind: str, target: FloatArray, rewards: FloatArray) -> float:
    return float(np.sum(target * peer_rewards(kind, LOG, rewards)) / len(LOG))


def rows_with(predictions: FloatArray) -> Rows:
    return Rows(
        target=TARGET(Situations.of(LOG)),
        propensities=LOG.propensities,
        actions=LOG.actions,
        outcomes=LOG.rewards,
        observed_weights=np.ones(len(LOG)),
        predictions=predictions,
    )


def test_inverse_propensity_scores_agree_with_coba() -> None:
    rows = rows_with(np.zeros((400, 3)))
    assert ips(rows).value == pytest.approx(peer_value("IPS", rows.target, LOG.rewards), rel=1e-12)


def test_self_normalised_scores_agree_with_the_ratio_of_two_of_cobas() -> None:
    rows = rows_with(np.zeros((400, 3)))
    weight = peer_value("IPS", rows.target, np.ones(400))
    assert snips(rows).value == pytest.approx(peer_value("IPS", rows.target, LOG.rewards) / weight, rel=1e-12)


def test_model_and_doubly_robust_values_agree_with_coba_on_its_own_model() -> None:
    rows = rows_with(peer_rewards("DM", LOG, LOG.rewards))
    assert np.ptp(rows.predictions) > 0.1
    assert dm(rows).value == pytest.approx(peer_value("DM", rows.target, LOG.rewards), abs=SINGLE_PRECISION)
    assert dr(rows).value == pytest.approx(peer_value("DR", rows.target, LOG.rewards), abs=SINGLE_PRECISION)
