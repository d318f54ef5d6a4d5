"""Metrics of bounded cardinality and a log of bounded length."""

from __future__ import annotations

import json

import pytest
import structlog
from prometheus_client import generate_latest

from bandit_router.adapters.system.observer import (
    LINES_PERIOD_S,
    MAX_LINES,
    MAX_SERIES,
    SystemObserver,
    _Lines,
    configure_logging,
)


def text(observer: SystemObserver) -> str:
    return generate_latest(observer.registry).decode()


def test_counts_durations_and_levels_are_exported() -> None:
    observer = SystemObserver()
    observer.count("rpc_requests", method="Route", code="OK")
    observer.count("rpc_requests", 2.0, code="OK", method="Route")
    observer.time("rpc_seconds", 0.003, method="Route")
    observer.level("ready", 1.0)
    exported = text(observer)
    assert 'bandit_router_rpc_requests_total{code="OK",method="Route"} 3.0' in exported
    assert 'bandit_router_rpc_seconds_bucket{le="0.005",method="Route"} 1.0' in exported
    assert "bandit_router_ready 1.0" in exported
    assert "# HELP bandit_router_rpc_requests_total Calls by method and status code" in exported


def test_a_metric_has_a_bounded_number_of_series() -> None:
    observer = SystemObserver()
    for number in range(MAX_SERIES + 50):
        observer.count("events_folded", pool=f"pool-{number}")
    exported = text(observer)
    assert 'events_folded_total{pool="other"} 50.0' in exported
    assert exported.count("bandit_router_events_folded_total{") == MAX_SERIES + 1


def test_an_event_has_a_bounded_number_of_lines_and_tells_what_it_left_out() -> None:
    lines = _Lines()
    assert [lines.admits(1.0) for _ in range(MAX_LINES + 5)] == [*[True] * MAX_LINES, *[False] * 5]
    assert lines.admits(1.0 + LINES_PERIOD_S)
    assert lines.take_suppressed() == 5
    assert lines.take_suppressed() == 0


def test_json_lines_carry_traces_without_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(as_json=True)
    try:
        try:
            prompt = "a prompt that nobody else may read"
            raise KeyError(len(prompt))
        except KeyError as fault:
            SystemObserver().note("unexpected_error", method="Route", exc_info=fault)
    finally:
        structlog.reset_defaults()
    captured = capsys.readouterr()
    line = json.loads(captured.err)
    assert (line["event"], line["level"], line["method"]) == ("unexpected_error", "error", "Route")
    assert line["exception"][0]["exc_type"] == "KeyError"
    assert "nobody else" not in captured.err
    assert captured.out == ""
