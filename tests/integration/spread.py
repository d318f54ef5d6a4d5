"""How long it takes until what is in the event log is learned, and until all servers serve it, by a clock here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event

import redis
from learned import state_of
from replicas import Replicas
from server_process import WAIT_LIMIT_S, wait_until

from bandit_router.adapters.redis import keys
from bandit_router.core.partition import PARTITION_COUNT

LOOK_S = 0.02
PAUSE_S = 0.3


@contextmanager
def spread_watched(replicas: Replicas, pool_id: str = "main") -> Iterator[list[tuple[float, float]]]:
    """Seconds from the log's end to a stored state that has it, and from that to the last server that serves it.

    Asked again and again as long as the context lasts.
    """
    found: list[tuple[float, float]] = []
    stop = Event()

    def watch() -> None:
        while not stop.wait(PAUSE_S):
            began_s = time.monotonic()
            version = learned_version(replicas.store, pool_id, ends_of(replicas.store, pool_id))
            learned_s = time.monotonic()
            for index in range(replicas.count):
                wait_until(partial(serves, replicas, index, pool_id, version))
            found.append((learned_s - began_s, time.monotonic() - learned_s))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield found
        finally:
            stop.set()
        watching.result()


def learned_version(store: redis.Redis, pool_id: str, ends: Mapping[int, str]) -> int:
    """Version of the first stored state that is seen to have all events up to `ends`."""
    limit_s = time.monotonic() + WAIT_LIMIT_S
    while True:
        state = state_of(store, pool_id)
        if state is not None and reaches(state.positions, ends):
            return state.version
        assert time.monotonic() < limit_s
        time.sleep(LOOK_S)


def ends_of(store: redis.Redis, pool_id: str) -> Mapping[int, str]:
    """Id of the last event in each partition's log that has any."""
    with store.pipeline(transaction=False) as pipeline:
        for partition in range(PARTITION_COUNT):
            pipeline.xrevrange(keys.events(pool_id, partition), count=1)
        rows = pipeline.execute()
    return {partition: last[0][0].decode() for partition, last in enumerate(rows) if last}


def reaches(positions: Mapping[int, str], ends: Mapping[int, str]) -> bool:
    """Whether a state that stands at `positions` has all events up to `ends`."""
    return all(order_of(positions.get(partition, "0")) >= order_of(end) for partition, end in ends.items())


def order_of(entry_id: str) -> tuple[int, int]:
    """What entries of a stream are ordered by."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def serves(replicas: Replicas, index: int, pool_id: str, version: int) -> bool:
    """Whether a server says that it serves a pool from the snapshot of this version or a newer one."""
    told = replicas.metric(index, "bandit_router_snapshot_version", pool_id)
    return told is not None and told >= version
