"""A decision log with a known truth: what a replica recorded that replayed a full-information log."""

from __future__ import annotations

import asyncio
from functools import cache

from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.replay.engine import Replay
from bandit_router_sim.replay.setting import Material, Policy, Setting
from bandit_router_sim.replay.stage import POOL_ID
from bandit_router_sim.replay.sweep import encoder_handle
from bandit_router_sim.tune.past import Past, past_of
from bandit_router_sim.tune.recorded import KEEP_ALL, decision_log_of, recorded_decisions
from tests.unit.sim.compare.compare_logs import make_material

LOGGED_USD = 2e-3
"""So much that every arm can be had nearly to the end: without support, choices are not read."""


@cache
def world(queries: int = 900) -> Material:
    """Every arm's outcomes."""
    return make_material(queries, seed=4, dimension=8)


@cache
def logged(queries: int = 900) -> DecisionLog:
    """What a replica saw of them."""
    return asyncio.run(_logged(world(queries)))


def relived(queries: int = 900) -> Past:
    """The same log, ready to be lived through."""
    return past_of(logged(queries), list_prices=world(queries).prices)


async def _logged(material: Material) -> DecisionLog:
    policy = Policy("exploring", learner="linucb", exploration="igw:tau=25", dimension=8)
    replay = Replay(material, Setting(policy, LOGGED_USD, seed=11, learn_share=0.0), encoder_handle, KEEP_ALL)
    await replay.run()
    records = await recorded_decisions(replay.services, POOL_ID)
    return decision_log_of(records, material.log.arm_ids, name="logged")
