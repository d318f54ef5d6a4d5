"""Tenants that share a pool in a replay: opposite tastes do not spoil each other's routing."""

from __future__ import annotations

from dataclasses import replace

from bandit_router_sim.replay.scenario import Scenario, TenantShare
from bandit_router_sim.replay.setting import POLICIES, Material, Setting
from bandit_router_sim.replay.sweep import replay_one
from tests.unit.sim.compare.compare_logs import make_material

AMPLE_USD = 1.0
SCENARIO = Scenario(tenants=(TenantShare("fans", 0.5), TenantShare("foes", 0.5)))


def setting(learner: str) -> Setting:
    return Setting(replace(POLICIES["unpaced"], learner=learner), AMPLE_USD, 3, 0.5, SCENARIO)


def of_opposite_tastes(material: Material) -> Material:
    """The log in which the requests that fall to the second tenant are rated the other way round."""
    trace = replay_one(material, setting("static")).trace
    rows = trace.rows[trace.tenants == 1]
    scores = material.log.scores.copy()
    scores[rows] = 1.0 - scores[rows]
    return replace(material, log=replace(material.log, scores=scores))


def test_tenants_of_opposite_tastes_do_better_by_levels_of_their_own_than_by_one_for_all() -> None:
    material = of_opposite_tastes(make_material(500, seed=3))
    own, pooled = (
        replay_one(material, setting(learner)).trace for learner in ("hierarchical", "hierarchical:voice=1e9,taste=1e9")
    )
    assert own.rewards[own.is_reported].mean() > pooled.rewards[pooled.is_reported].mean() + 0.03
