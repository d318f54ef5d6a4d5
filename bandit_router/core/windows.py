"""Budget windows: which calendar period of the tenant's zone an instant belongs to.

Boundaries are local wall-clock instants turned into UTC, so a day on which the clocks change has 23 or 25 hours, and
windows neither overlap nor leave a gap: a boundary that the clocks show twice is its first showing, one that they skip
is the instant at which they skip it. An hour window is an hour of the zone's clock; where two local hours bear the
same name (clocks set back) they are two windows, and where the clocks move by half an hour (Lord Howe) the one that is
cut off by the change lasts half an hour.

A month from day 29, 30 or 31 begins on its last day where it has no such day, so months never skip one another and
each has one window: from the 31st, the window after 31 January begins on 28 (or 29) February, the next on 31 March.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bandit_router.core.resources import WindowKind, WindowRule

HOUR_MS = 3_600_000
FIXED_START_MS = 0
MAX_RULES = 1_000
"""Rules whose latest window is remembered; with more of them in use, all are found anew now and then."""


@dataclass(frozen=True, slots=True)
class Window:
    """One budget period: [start_ms, end_ms) in Unix milliseconds; a fixed total has no end and no predecessor.

    Windows of different kinds may start at the same instant: `name` ('day:1774738800000') tells those of an account
    apart. It is made once, as every decision asks for it many times. `ordinal` counts the windows of one rule:
    consecutive ones differ by one (hours that the clocks cut in two may share one).
    """

    start_ms: int
    end_ms: int | None = None
    previous_start_ms: int | None = None
    kind: WindowKind = WindowKind.FIXED
    ordinal: int = 0
    name: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.kind.value}:{self.start_ms}")

    @property
    def previous_name(self) -> str | None:
        """Name of the window before, or None if there can be none."""
        return None if self.previous_start_ms is None else f"{self.kind.value}:{self.previous_start_ms}"

    @classmethod
    def named(cls, name: str) -> Window:
        """The window of that name, its end unknown. Names of the first schema are the start alone."""
        kind, _, start_ms = name.rpartition(":")
        return cls(int(start_ms), kind=WindowKind(kind or WindowKind.FIXED))

    def overlaps(self, other: Window) -> bool:
        """Whether some instant belongs to both; no if the end of one is unknown. Windows of one rule never do."""
        return self._begins_before_the_end_of(other) and other._begins_before_the_end_of(self)

    def _begins_before_the_end_of(self, other: Window) -> bool:
        if other.end_ms is None:
            return other.kind is WindowKind.FIXED and other.start_ms == FIXED_START_MS
        return self.start_ms < other.end_ms

    def contains(self, now_ms: int) -> bool:
        """Whether the instant belongs to this period."""
        return self.start_ms <= now_ms and (self.end_ms is None or now_ms < self.end_ms)


def window_at(rule: WindowRule, now_ms: int) -> Window:
    """The window of `rule` that contains `now_ms`."""
    if rule.kind is WindowKind.FIXED:
        return Window(start_ms=FIXED_START_MS)
    bounds = _hour_bounds if rule.kind is WindowKind.HOUR else _calendar_bounds
    start_ms, end_ms = bounds(rule, now_ms)
    previous_start_ms, _ = bounds(rule, start_ms - 1)
    ordinal = _ordinal(rule, _local(rule, start_ms), start_ms)
    return Window(start_ms, end_ms, previous_start_ms, rule.kind, ordinal)


def _ordinal(rule: WindowRule, start: datetime, start_ms: int) -> int:
    if rule.kind is WindowKind.HOUR:
        return start_ms // HOUR_MS
    if rule.kind is WindowKind.MONTH:
        return start.year * 12 + start.month
    return start.toordinal() if rule.kind is WindowKind.DAY else start.toordinal() // 7


class Windows:
    """`window_at` for one who asks at times that hardly ever leave the window of the last answer."""

    def __init__(self) -> None:
        self._latest: dict[WindowRule, Window] = {}

    def at(self, rule: WindowRule, now_ms: int) -> Window:
        """The window of `rule` that contains `now_ms`."""
        latest = self._latest.get(rule)
        if latest is not None and latest.contains(now_ms):
            return latest
        if len(self._latest) >= MAX_RULES:
            self._latest.clear()
        window = self._latest[rule] = window_at(rule, now_ms)
        return window


def _hour_bounds(rule: WindowRule, now_ms: int) -> tuple[int, int]:
    start_ms = now_ms - (now_ms + _phase_ms(rule, now_ms)) % HOUR_MS
    last_ms = start_ms + HOUR_MS - 1
    if _phase_ms(rule, start_ms) != _phase_ms(rule, now_ms):
        return _phase_change(rule, start_ms, now_ms), last_ms + 1
    if _phase_ms(rule, last_ms) != _phase_ms(rule, now_ms):
        return start_ms, _phase_change(rule, now_ms, last_ms)
    return start_ms, last_ms + 1


def _phase_ms(rule: WindowRule, now_ms: int) -> int:
    """By how much the zone's full hours come before UTC's."""
    offset = _local(rule, now_ms).utcoffset()
    assert offset is not None
    return int(offset.total_seconds() * 1000) % HOUR_MS


def _phase_change(rule: WindowRule, before_ms: int, after_ms: int) -> int:
    """The first instant with the phase of `after_ms`; that of `before_ms` is another."""
    phase_ms = _phase_ms(rule, after_ms)
    while after_ms - before_ms > 1:
        middle_ms = (before_ms + after_ms) // 2
        if _phase_ms(rule, middle_ms) == phase_ms:
            after_ms = middle_ms
        else:
            before_ms = middle_ms
    return after_ms


def _calendar_bounds(rule: WindowRule, now_ms: int) -> tuple[int, int]:
    start = _calendar_start(rule, _local(rule, now_ms))
    while _to_ms(start) > now_ms:  # the clocks skipped midnight
        start = _calendar_start(rule, start - timedelta(days=1))
    end = _next_start(rule, start)
    while _to_ms(end) <= now_ms:  # the clocks were set back over midnight
        start, end = end, _next_start(rule, end)
    return _to_ms(start), _to_ms(end)


def _local(rule: WindowRule, now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(ZoneInfo(rule.time_zone))


def _calendar_start(rule: WindowRule, local: datetime) -> datetime:
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if rule.kind is WindowKind.DAY:
        return midnight
    if rule.kind is WindowKind.WEEK:
        return midnight - timedelta(days=(midnight.isoweekday() - rule.start_day) % 7)
    if midnight.day < _start_day(rule, midnight):
        midnight = midnight.replace(day=1) - timedelta(days=1)
    return midnight.replace(day=_start_day(rule, midnight))


def _start_day(rule: WindowRule, month: datetime) -> int:
    """Day on which the window of this month begins: its last one if it has no `start_day`."""
    return min(rule.start_day, monthrange(month.year, month.month)[1])


def _next_start(rule: WindowRule, start: datetime) -> datetime:
    if rule.kind is WindowKind.MONTH:
        following = start.replace(day=1) + timedelta(days=32)
        return following.replace(day=_start_day(rule, following))
    return start + timedelta(days=1 if rule.kind is WindowKind.DAY else 7)


def _to_ms(local: datetime) -> int:
    return int(local.timestamp() * 1000)
