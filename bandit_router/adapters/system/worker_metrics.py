"""The metrics of several workers on one page: each worker's own, with a label that names it.

Sums are left to Prometheus, which then also sees a worker's counters begin again when it was restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

FETCH_LIMIT_S = 1.0
"""A worker that does not answer by then is left out of the page."""


class WorkerMetrics(Collector):
    """Collects from the workers' own pages on this machine. `ports` tells them by worker (None: it has none yet)."""

    def __init__(self, ports: Callable[[], Mapping[int, int | None]]) -> None:
        self._ports = ports

    def collect(self) -> Iterator[Metric]:
        """Every metric once, with the samples of all workers."""
        merged: dict[str, Metric] = {}
        for worker, port in self._ports().items():
            for family in text_string_to_metric_families("" if port is None else _page(port)):
                whole = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    labels = {**sample.labels, "worker": str(worker)}
                    whole.add_sample(sample.name, labels, sample.value)
        yield from merged.values()


def _page(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=FETCH_LIMIT_S) as answer:
            return str(answer.read().decode())
    except (URLError, OSError):
        return ""
