"""Metrics for Prometheus and lines for the log, fed by everything that observes.

Label values are bounded: beyond MAX_SERIES combinations of a metric, further ones count as `other`. Lines are bounded,
too: beyond MAX_LINES of one event a minute, further ones are only counted, and the next line tells how many.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

PREFIX = "bandit_router_"
MAX_SERIES = 256
MAX_LINES = 10
LINES_PERIOD_S = 60.0
OTHER = "other"

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

HELP = {
    "rpc_requests": "Calls by method and status code",
    "rpc_seconds": "Duration of calls by method",
    "batch_items_failed": "Items of batches that failed, by method and status code",
    "ready": "1 while the replica is ready to serve",
    "events_folded": "Events learned, by pool",
    "events_not_learnable": "Events in coordinates that their pool has left, by pool",
    "events_dead": "Events that could not be learned and became dead letters, by pool",
    "answers_billed": "Answers billed, as learned, by pool and arm",
    "rewards_reported": "First rewards reported of decisions, as learned, by pool and arm",
    "rewards_withdrawn": "Rewards taken back, as learned, by pool and arm",
    "rewards_defaulted": "Default rewards assumed, as learned, by pool and arm",
    "events_trimmed": "Events dropped from the log after their time, by pool",
    "learner_lag_events": "Events not yet learned when the learner last looked, as far as it read, by pool",
    "learner_lag_seconds": "Age of the oldest event not yet learned when the learner last looked, by pool",
    "learning_failures": "Failed runs of the learner, by pool",
    "snapshot_version": "Version of the learned state that this replica serves, by pool",
    "states_unreadable": "Learned states that this replica could not read, by pool",
    "encoder_timeouts": "Texts decided on the average context because their encoder was too slow",
    "budget_alerts": "Shares of a window's limit (in per cent) that held and spent money has reached, by tenant",
    "decisions_expired": "Decisions whose usage had not come by their deadline",
    "outage_decisions": "Decisions made without the store",
    "outage_decisions_waiting": "Decisions made without the store that are not in the ledger yet",
    "outage_decisions_lost": "Decisions made without the store that never got into the ledger",
    "outage_overdrawn_nusd": "Money that decisions made without the store promised beyond what was free, all levels",
    "workers_lost": "Workers that ended by themselves and were started again",
    "task_failures": "Failed runs of a background task",
}

_Metric = Counter | Gauge | Histogram


class SystemObserver:
    """Implements `Observer` on prometheus-client and structlog."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger | None = None) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, _Metric] = {}
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._lines: dict[str, _Lines] = {}
        self._log = logger or structlog.get_logger()

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """See `Observer.count`."""
        metric = self._series_of(Counter, name, labels)
        assert isinstance(metric, Counter)
        metric.inc(amount)

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """See `Observer.time`."""
        metric = self._series_of(Histogram, name, labels)
        assert isinstance(metric, Histogram)
        metric.observe(seconds)

    def level(self, name: str, value: float, **labels: str) -> None:
        """See `Observer.level`."""
        metric = self._series_of(Gauge, name, labels)
        assert isinstance(metric, Gauge)
        metric.set(value)

    def note(self, event: str, **facts: object) -> None:
        """See `Observer.note`. `exc_info` may be an exception, whose trace is logged."""
        lines = self._lines.setdefault(event, _Lines())
        if not lines.admits(time.monotonic()):
            return
        suppressed = lines.take_suppressed()
        if suppressed:
            facts["suppressed"] = suppressed
        log = self._log.error if "exc_info" in facts else self._log.info
        log(event, **facts)

    def serve(self, host: str, port: int) -> int:
        """Answer Prometheus from a thread of its own; the port, chosen by the system for 0. Raises OSError."""
        server, _ = start_http_server(port, addr=host.strip("[]"), registry=self.registry)
        return int(server.server_port)

    def _series_of(self, kind: type[_Metric], name: str, labels: Mapping[str, str]) -> _Metric:
        metric = self._metrics.get(name)
        if metric is None:
            metric = self._metrics[name] = self._make(kind, name, sorted(labels))
        if not labels:
            return metric
        values = tuple(labels[label] for label in sorted(labels))
        series = self._series.setdefault(name, set())
        if values not in series:
            if len(series) >= MAX_SERIES:
                values = (OTHER,) * len(values)
            else:
                series.add(values)
        return metric.labels(*values)

    def _make(self, kind: type[_Metric], name: str, labels: list[str]) -> _Metric:
        text = HELP.get(name, name.replace("_", " "))
        if kind is Histogram:
            return Histogram(PREFIX + name, text, labels, registry=self.registry, buckets=BUCKETS_S)
        return kind(PREFIX + name, text, labels, registry=self.registry)


@dataclass(slots=True)
class _Lines:
    """How many lines of one event the present period has taken."""

    began_s: float = float("-inf")
    written: int = 0
    suppressed: int = 0

    def admits(self, now_s: float) -> bool:
        if now_s - self.began_s >= LINES_PERIOD_S:
            self.began_s, self.written = now_s, 0
        if self.written >= MAX_LINES:
            self.suppressed += 1
            return False
        self.written += 1
        return True

    def take_suppressed(self) -> int:
        suppressed, self.suppressed = self.suppressed, 0
        return suppressed


def configure_logging(*, as_json: bool) -> None:
    """Log to standard error: JSON lines for machines, or text for people. Standard output is left to commands.

    Traces are without local variables: those may hold prompts.
    """
    render: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        traces = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(traces))
        render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*processors, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
