"""Budget windows: which calendar period of the tenant's zone an instant belongs to.

Boundaries are local wall-clock instants turned into UTC, so a day on which the clocks change has 23 or 25 hours and
windows neither overlap nor leave a gap. An hour window is a UTC-aligned hour shifted by the zone's offset; where two
local hours bear the same name (clocks set back) they are two windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bandit_router.core.resources import WindowKind, WindowRule

HOUR_MS = 3_600_000
FIXED_START_MS = 0


@dataclass(frozen=True, slots=True)
class Window:
    """One budget period: [start_ms, end_ms) in Unix milliseconds; a fixed total has no end and no predecessor."""

    start_ms: int
    end_ms: int | None = None
    previous_start_ms: int | None = None


def window_at(rule: WindowRule, now_ms: int) -> Window:
    """The window of `rule` that contains `now_ms`."""
    if rule.kind is WindowKind.FIXED:
        return Window(start_ms=FIXED_START_MS)
    if rule.kind is WindowKind.HOUR:
        return _hour_window(rule, now_ms)
    start = _calendar_start(rule, _local(rule, now_ms))
    return Window(
        start_ms=_to_ms(start),
        end_ms=_to_ms(_next_start(rule, start)),
        previous_start_ms=_to_ms(_calendar_start(rule, start - timedelta(days=1))),
    )


def _hour_window(rule: WindowRule, now_ms: int) -> Window:
    offset = _local(rule, now_ms).utcoffset()
    assert offset is not None
    shift_ms = int(offset.total_seconds() * 1000)
    start_ms = (now_ms + shift_ms) // HOUR_MS * HOUR_MS - shift_ms
    return Window(start_ms=start_ms, end_ms=start_ms + HOUR_MS, previous_start_ms=start_ms - HOUR_MS)


def _local(rule: WindowRule, now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(ZoneInfo(rule.time_zone))


def _calendar_start(rule: WindowRule, local: datetime) -> datetime:
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if rule.kind is WindowKind.DAY:
        return midnight
    if rule.kind is WindowKind.WEEK:
        return midnight - timedelta(days=(midnight.isoweekday() - rule.start_day) % 7)
    if midnight.day < rule.start_day:
        midnight = midnight.replace(day=1) - timedelta(days=1)
    return midnight.replace(day=rule.start_day)


def _next_start(rule: WindowRule, start: datetime) -> datetime:
    if rule.kind is WindowKind.MONTH:
        return (start.replace(day=1) + timedelta(days=32)).replace(day=rule.start_day)
    return start + timedelta(days=1 if rule.kind is WindowKind.DAY else 7)


def _to_ms(local: datetime) -> int:
    return int(local.timestamp() * 1000)
