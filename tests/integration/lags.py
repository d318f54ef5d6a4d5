"""How far behind the log learners are, as they say themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from threading import Event

from server_process import metrics_page

LOOK_S = 0.1

FOLDED = re.compile(r'^bandit_router_events_folded_total\{.*pool="([^"]+)".*\} (\S+)', re.MULTILINE)
LAG = re.compile(r'^bandit_router_learner_lag_seconds\{.*pool="([^"]+)".*\} (\S+)', re.MULTILINE)


def lags_s(pages: Iterable[int], folded: dict[tuple[int, str], float]) -> Iterator[float]:
    """Per pool the lag told by the server that has learned for it since the last time, of those that answer.

    `pages`: ports of the servers' metrics; `folded`: what they said they had folded, kept from one call to the next.
    """
    for page in pages:
        try:
            text = metrics_page(page)
        except (OSError, HTTPException):
            continue
        lags = dict(LAG.findall(text))
        for pool_id, count in FOLDED.findall(text):
            if float(count) > folded.get((page, pool_id), 0.0):
                yield float(lags[pool_id])
            folded[page, pool_id] = float(count)


@contextmanager
def lags_watched(pages: Sequence[int], *, counts: Callable[[], bool] = lambda: True) -> Iterator[list[float]]:
    """What `lags_s` yields, ten times a second as long as the context lasts, while `counts()`."""
    found: list[float] = []
    stop = Event()

    def watch() -> None:
        folded: dict[tuple[int, str], float] = {}
        while not stop.wait(LOOK_S):
            told = list(lags_s(pages, folded))
            found.extend(told if counts() else ())

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield found
        finally:
            stop.set()
        watching.result()
