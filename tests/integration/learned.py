"""What a store has learned and what its event log says, to compare: every sum, and the story of every decision."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import redis
from reporters import POOLS
from server_process import ServerProcess, wait_until

from bandit_router.adapters.redis import keys
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.context import context_dimension
from bandit_router.core.examples import Examples
from bandit_router.core.learners.registry import keep_for, parse_learner
from bandit_router.core.outcomes import Billing, Outcome, RewardSource
from bandit_router.core.partition import PARTITION_COUNT
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.resources import DEFAULT_DIMENSION

TOLERANCE = 1e-9
SETTLES_S = 60.0
PLACES = ("positions", "version", "generation")
"""Where a state stands, not what it has learned."""

Rows = list[tuple[bytes, dict[bytes, bytes]]]


def state_of(store: redis.Redis, pool_id: str = "main") -> PoolState | None:
    """What is stored of a pool."""
    stored = store.hget(keys.snapshot(pool_id), "state")
    return None if stored is None else decode_pool_state(stored)


def version_of(store: redis.Redis, pool_id: str = "main") -> int:
    """Version of what is stored of a pool; 0 if that cannot be told now."""
    try:
        return int(store.hget(keys.snapshot(pool_id), "version") or 0)
    except redis.ConnectionError:
        return 0


def learner_of(store: redis.Redis, pool_id: str = "main") -> str:
    """Who has written what is stored of a pool; '' if that cannot be told now."""
    try:
        mark = store.hget(keys.snapshot(pool_id), "mark") or b""
    except redis.ConnectionError:
        return ""
    return mark.decode().rpartition("-")[0]


def log_of(store: redis.Redis, pool_id: str = "main") -> dict[int, Rows]:
    """All events of a pool by partition."""
    found = {partition: store.xrange(keys.events(pool_id, partition)) for partition in range(PARTITION_COUNT)}
    return {partition: rows for partition, rows in found.items() if rows}


def has_learned_all(store: redis.Redis, pool_id: str = "main") -> bool:
    """Whether the stored state stands at the end of the log."""
    last = {partition: rows[-1][0].decode() for partition, rows in log_of(store, pool_id).items()}
    state = state_of(store, pool_id)
    return bool(last) and state is not None and dict(state.positions) == last


def settle(store: redis.Redis, pools: Collection[str] = tuple(POOLS.values())) -> None:
    """Wait until all default rewards that are owed have been assumed, and everything is learned."""
    waiting = [keys.defaults(partition) for partition in range(PARTITION_COUNT)]
    wait_until(lambda: not store.exists(*waiting), SETTLES_S)
    for pool_id in pools:
        wait_until(lambda pool_id=pool_id: has_learned_all(store, pool_id), SETTLES_S)


def assert_is_one_fold_of_the_log(
    store: redis.Redis,
    pool_id: str = "main",
    *,
    learner: str = "hierarchical",
    features: int = 0,
    but: Collection[str] = (),
) -> int:
    """Everything that was learned, `but` some fields, is what the log teaches in one go; how many events that are."""
    state = state_of(store, pool_id)
    assert state is not None
    expected = PoolState(context_dimension(DEFAULT_DIMENSION, features), generation=state.generation)
    keep_for(parse_learner(learner), expected)
    for rows in log_of(store, pool_id).values():
        for _, event in rows:
            learn(expected, decode_decision(event[b"d"]), decode_outcome(event[b"b"]), decode_outcome(event[b"a"]))
    for field in fields(PoolState):
        if field.name not in (*PLACES, *but):
            assert_same(getattr(state, field.name), getattr(expected, field.name), where=field.name)
    return state.events


def assert_same(found: object, expected: object, *, where: str) -> None:
    """Equal in every part: counts exactly, sums to TOLERANCE."""
    if is_dataclass(found):
        for part in fields(found):
            assert_same(getattr(found, part.name), getattr(expected, part.name), where=f"{where}.{part.name}")
    elif isinstance(found, Mapping):
        assert isinstance(expected, Mapping)
        assert found.keys() == expected.keys(), where
        for key, value in found.items():
            assert_same(value, expected[key], where=f"{where}[{key}]")
    elif isinstance(found, Examples):
        assert isinstance(expected, Examples)
        assert found.capacity == expected.capacity, where
        assert_same(found.all(), expected.all(), where=where)
    elif isinstance(found, list):
        assert isinstance(expected, list)
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, where=where)
    elif isinstance(found, (np.ndarray, float)):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, err_msg=where)
    else:
        assert found == expected, where


def stories_of(store: redis.Redis, pool_id: str) -> dict[str, list[Outcome]]:
    """Of every decision in the log the outcomes one after another, the first one before any event.

    Asserts that each event begins where the one before it has ended, so that none is there twice or missing.
    """
    found: dict[str, list[Outcome]] = defaultdict(list)
    for rows in log_of(store, pool_id).values():
        for _, event in rows:
            story = found[decode_decision(event[b"d"]).decision_id]
            before = decode_outcome(event[b"b"])
            if story:
                assert story[-1] == before
            story += [decode_outcome(event[b"a"])] if story else [before, decode_outcome(event[b"a"])]
    return dict(found)


def assert_settled_and_assumed_once(stories: Mapping[str, list[Outcome]]) -> int:
    """No hold was settled twice, no default reward assumed twice; how many defaults were assumed."""
    defaults = 0
    for decision_id, story in stories.items():
        steps = list(itertools.pairwise(story))
        assert sum(a.billing is Billing.HELD and b.billing is not Billing.HELD for a, b in steps) <= 1, decision_id
        assumed = sum(
            b.reward_source is RewardSource.DEFAULT and a.reward_source is not RewardSource.DEFAULT for a, b in steps
        )
        assert assumed <= 1, decision_id
        defaults += assumed
    return defaults


def outcomes_of(store: redis.Redis, tenant_id: str) -> dict[str, Outcome]:
    """The recorded outcome of every decision of a tenant."""
    found = {}
    for key in store.scan_iter(keys.decision(tenant_id, "*"), count=1000):
        decision, outcome = store.hmget(key, "d", "o")
        found[decode_decision(decision).decision_id] = decode_outcome(outcome)
    return found


def assert_all_serve_the_same(servers: list[ServerProcess], store: redis.Redis, tenants: Mapping[str, str]) -> None:
    """All servers come to serve the newest state of each tenant's pool, and predict the same to TOLERANCE."""
    for tenant_id, pool_id in tenants.items():

        def scores(server: ServerProcess, tenant_id: str = tenant_id) -> tuple[int, list[float]]:
            with server.client(tenant_id=tenant_id) as client:
                route = client.route(query="the same", dry_run=True, explain=True)
            return route.snapshot_version, [arm.expected_reward for arm in route.arms]

        newest = version_of(store, pool_id)
        for server in servers:
            wait_until(lambda server=server, newest=newest: scores(server)[0] == newest)
        first, *others = [scores(server)[1] for server in servers]
        for other in others:
            assert other == pytest.approx(first, abs=TOLERANCE)
