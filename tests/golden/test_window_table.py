"""A table of instants and the windows that they lie in: both changes of the clocks, month ends, leap days.

python -m tests.golden.test_window_table   write windows.txt anew; look at the difference before committing it
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.core.windows import window_at

TABLE = Path(__file__).with_name("windows.txt")
HOUR, DAY, WEEK, MONTH = WindowKind.HOUR, WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH
MINUTE_MS = 60_000

CHANGES = (
    # zone, an instant (UTC) just before its clocks are set forward, and one just before they are set back
    ("Europe/Berlin", "2026-03-29T00:59", "2026-10-25T00:59"),
    ("America/New_York", "2026-03-08T06:59", "2026-11-01T05:59"),
    ("Australia/Lord_Howe", "2026-10-03T15:29", "2026-04-04T14:59"),
    ("America/Santiago", "2026-09-06T03:59", "2026-04-05T02:59"),
    ("Africa/Cairo", "2026-04-23T21:59", "2026-10-29T20:59"),
    ("America/Havana", "2026-03-08T04:59", "2026-11-01T04:59"),
    ("Asia/Beirut", "2026-03-28T21:59", "2026-10-24T20:59"),
    ("America/St_Johns", "2026-03-08T05:29", "2026-11-01T04:29"),
    ("Pacific/Chatham", "2026-09-26T13:59", "2026-04-04T13:59"),
)
DATES = (
    # zone, start day, local instants of months
    ("UTC", 1, ("2026-01-31T23:59", "2026-02-01T00:00", "2024-02-29T12:00", "2100-02-28T23:59", "2026-12-31T23:59")),
    ("Asia/Tokyo", 15, ("2026-02-14T23:59", "2026-02-15T00:00", "2028-02-29T12:00")),
    ("Europe/Berlin", 29, ("2026-02-27T23:59", "2026-02-28T00:00", "2026-03-29T00:00", "2028-02-28T23:59")),
    ("Europe/Berlin", 30, ("2026-02-28T00:00", "2028-02-29T00:00", "2026-03-29T23:59", "2026-03-30T00:00")),
    ("America/Lima", 31, ("2026-01-30T23:59", "2026-02-27T23:59", "2026-02-28T00:00", "2026-04-30T00:00")),
)
WEEKS = (
    # zone, start day, local instants
    ("Europe/Berlin", 1, ("2026-03-29T23:59", "2026-03-30T00:00", "2026-10-25T12:00", "2027-01-01T00:00")),
    ("America/New_York", 7, ("2026-03-07T23:59", "2026-03-08T03:00", "2026-11-01T01:30", "2028-02-29T00:00")),
    ("Africa/Cairo", 5, ("2026-04-24T01:00", "2026-04-23T23:59", "2026-10-30T00:00")),
)


def row(kind: WindowKind, zone: str, start_day: int, now_ms: int) -> str:
    window = window_at(WindowRule(kind, zone, start_day), now_ms)
    assert window.end_ms is not None
    hours = (window.end_ms - window.start_ms) / 3_600_000
    instants = " ".join(local(zone, ms) for ms in (now_ms, window.start_ms, window.end_ms))
    return f"{kind.value:5} {zone:19} {start_day:2} {instants} {hours:6g} h"


def local(zone: str, ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")


def at(zone: str, text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def rows() -> Iterator[str]:
    yield "kind  zone         start day instant                window                                          length"
    for zone, *befores in CHANGES:
        for before in befores:
            minute_ms = at("UTC", before)
            for kind in (HOUR, DAY):
                for minutes in (-60, 0, 1, 61):
                    yield row(kind, zone, 1, minute_ms + minutes * MINUTE_MS)
            yield row(MONTH, zone, 1, minute_ms)
    for kind, table in ((MONTH, DATES), (WEEK, WEEKS)):
        for zone, start_day, instants in table:
            for instant in instants:
                yield row(kind, zone, start_day, at(zone, instant))


def test_instants_lie_in_the_windows_of_the_table() -> None:
    assert list(rows()) == TABLE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    TABLE.write_text("\n".join(rows()) + "\n", encoding="utf-8")
