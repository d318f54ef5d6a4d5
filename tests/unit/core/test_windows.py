from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.resources import WindowKind, WindowRule
from bandit_router.core.windows import HOUR_MS, Window, Windows, window_at
from tests.builders import FEW, PROPERTY, THOROUGH

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "America/St_Johns",
    "Africa/Cairo",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Pacific/Apia",
    "Asia/Pyongyang",
)
DAY_MS = 24 * HOUR_MS


def ms(text: str) -> int:
    """Unix milliseconds of an ISO instant."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def bounds(rule: WindowRule, now: str) -> tuple[str, str]:
    """The window's bounds as local wall-clock texts."""
    window = window_at(rule, ms(now))
    assert window.end_ms is not None
    zone = ZoneInfo(rule.time_zone)
    start, end = (datetime.fromtimestamp(t / 1000, tz=UTC).astimezone(zone) for t in (window.start_ms, window.end_ms))
    return start.isoformat(), end.isoformat()


def changes_of(zone: str, first_year: int = 2005, last_year: int = 2030) -> list[int]:
    """Instants (ms) at which the zone's clocks change, found by stepping and halving."""
    offset = lambda s: datetime.fromtimestamp(s, tz=UTC).astimezone(ZoneInfo(zone)).utcoffset()  # noqa: E731
    step_s = 10 * 24 * 3600
    found = []
    for second in range(*(int(datetime(y, 1, 1, tzinfo=UTC).timestamp()) for y in (first_year, last_year)), step_s):
        low, high = second, second + step_s
        if offset(low) == offset(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if offset(middle) != offset(low) else (middle, high)
        found.append(high * 1000)
    return found


instants = st.integers(ms("1990-01-01T00:00+00:00"), ms("2037-01-01T00:00+00:00"))
changes = {zone: changes_of(zone) for zone in ZONES}


@st.composite
def rules(draw: st.DrawFn) -> WindowRule:
    kind = draw(st.sampled_from([WindowKind.HOUR, WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH]))
    last_day = {WindowKind.WEEK: 7, WindowKind.MONTH: 31}.get(kind, 1)
    return WindowRule(kind, draw(st.sampled_from(ZONES)), draw(st.integers(1, last_day)))


@st.composite
def cases(draw: st.DrawFn) -> tuple[WindowRule, int]:
    """A rule and an instant, in most cases close to a change of the zone's clocks."""
    rule = draw(rules())
    if not changes[rule.time_zone]:
        return rule, draw(instants)
    change = draw(st.sampled_from(changes[rule.time_zone]))
    around = [st.integers(-HOUR_MS, HOUR_MS), st.integers(-2 * DAY_MS, 2 * DAY_MS), st.sampled_from([-1, 0, 1])]
    return rule, draw(st.one_of(instants, *(offset.map(lambda ms: change + ms) for offset in around)))


@THOROUGH
@given(cases())
def test_every_instant_lies_in_its_window(case: tuple[WindowRule, int]) -> None:
    rule, now_ms = case
    window = window_at(rule, now_ms)
    assert window.end_ms is not None
    assert window.start_ms <= now_ms < window.end_ms


@THOROUGH
@given(cases(), st.floats(0, 1, exclude_max=True))
def test_all_instants_of_a_window_agree_on_it(case: tuple[WindowRule, int], share: float) -> None:
    rule, now_ms = case
    window = window_at(rule, now_ms)
    assert window.end_ms is not None
    other_ms = window.start_ms + int(share * (window.end_ms - window.start_ms))
    assert window_at(rule, window.start_ms) == window_at(rule, other_ms) == window_at(rule, window.end_ms - 1) == window


@PROPERTY
@given(st.lists(rules(), min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 2), instants), max_size=20))
def test_remembered_windows_are_those_that_are_found_anew(
    known: list[WindowRule], visits: list[tuple[int, int]]
) -> None:
    windows = Windows()
    for index, now_ms in visits:
        rule = known[index % len(known)]
        for later_ms in (now_ms, now_ms + HOUR_MS // 2, now_ms + DAY_MS):
            assert windows.at(rule, later_ms) == window_at(rule, later_ms)


def test_windows_overlap_that_share_an_instant_and_whose_ends_are_known() -> None:
    day = Window(DAY_MS, 2 * DAY_MS, 0, WindowKind.DAY, 1)
    others = {
        Window(0, DAY_MS, None, WindowKind.MONTH): False,
        Window(0, DAY_MS + 1, None, WindowKind.MONTH): True,
        Window(2 * DAY_MS - 1, 9 * DAY_MS, None, WindowKind.HOUR): True,
        Window(2 * DAY_MS, 9 * DAY_MS, None, WindowKind.HOUR): False,
        Window(0): True,
        Window.named("month:0"): False,
        Window.named("0"): True,
        Window.named("86400000"): False,
    }
    for other, expected in others.items():
        assert day.overlaps(other) == other.overlaps(day) == expected, other


@THOROUGH
@given(cases())
def test_windows_follow_each_other_without_gap_or_overlap(case: tuple[WindowRule, int]) -> None:
    rule, now_ms = case
    window = window_at(rule, now_ms)
    assert window.end_ms is not None
    following = window_at(rule, window.end_ms)
    assert (following.start_ms, following.previous_start_ms) == (window.end_ms, window.start_ms)
    assert following.previous_name == window.name != following.name
    assert not window.overlaps(following)
    steps = (0, 1) if rule.kind is WindowKind.HOUR else (1, 2) if rule.time_zone == "Pacific/Apia" else (1,)
    assert following.ordinal - window.ordinal in steps


@PROPERTY
@given(rules(), instants)
def test_windows_start_on_the_full_hour_or_at_local_midnight_or_where_the_clocks_skip_it(
    rule: WindowRule, now_ms: int
) -> None:
    start_ms = window_at(rule, now_ms).start_ms
    start = datetime.fromtimestamp(start_ms / 1000, tz=UTC).astimezone(ZoneInfo(rule.time_zone))
    expected = "%M:%S" if rule.kind is WindowKind.HOUR else "%H:%M:%S"
    assert set(start.strftime(expected)) == {"0", ":"} or start_ms in changes_of(
        rule.time_zone, start.year - 1, start.year + 2
    )


@PROPERTY
@given(st.sampled_from(ZONES), st.integers(29, 31), instants)
def test_months_from_a_late_day_begin_on_it_or_on_the_last_day_there_is(zone: str, day: int, now_ms: int) -> None:
    start_ms = window_at(WindowRule(WindowKind.MONTH, zone, day), now_ms).start_ms
    start = datetime.fromtimestamp(start_ms / 1000, tz=UTC).astimezone(ZoneInfo(zone))
    assert start.day == day or (start + timedelta(days=1)).day == 1


@FEW
@given(instants)
def test_a_window_is_found_by_its_name(now_ms: int) -> None:
    for kind in WindowKind:
        window = window_at(WindowRule(kind, "Europe/Berlin"), now_ms)
        named = Window.named(window.name)
        assert (named.kind, named.start_ms) == (window.kind, window.start_ms)


@FEW
@given(instants)
def test_a_fixed_total_is_one_window_without_end(now_ms: int) -> None:
    assert window_at(WindowRule(WindowKind.FIXED, "Asia/Tokyo"), now_ms) == Window(0)


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [("Europe/Berlin", "2026-03-29", "2026-10-25"), ("America/New_York", "2026-03-08", "2026-11-01")],
)
def test_days_on_which_the_clocks_change_have_23_and_25_hours(zone: str, spring: str, autumn: str) -> None:
    for day, hours in ((spring, 23), (autumn, 25)):
        window = window_at(WindowRule(WindowKind.DAY, zone), ms(f"{day}T17:00+00:00"))
        assert window.end_ms is not None
        assert window.end_ms - window.start_ms == hours * HOUR_MS


def test_the_days_around_a_change_of_clocks_keep_to_local_midnight() -> None:
    rule = WindowRule(WindowKind.DAY, "Europe/Berlin")
    assert bounds(rule, "2026-03-29T12:00+02:00") == ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")
    assert bounds(rule, "2026-10-25T23:59+01:00") == ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")


def test_an_hour_that_the_clocks_show_twice_is_two_windows() -> None:
    rule = WindowRule(WindowKind.HOUR, "Europe/Berlin")
    assert bounds(rule, "2026-10-25T02:30+02:00") == ("2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00")
    assert bounds(rule, "2026-10-25T02:30+01:00") == ("2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00")


def test_a_day_whose_midnight_the_clocks_skip_starts_with_the_change() -> None:
    rule = WindowRule(WindowKind.DAY, "Africa/Cairo")
    assert bounds(rule, "2026-04-24T12:00+03:00") == ("2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00")


def test_a_date_that_a_zone_leaves_out_has_no_window() -> None:
    window = window_at(WindowRule(WindowKind.DAY, "Pacific/Apia"), ms("2011-12-31T12:00+14:00"))
    assert window.previous_start_ms == ms("2011-12-29T00:00-10:00")
    assert window.start_ms == ms("2011-12-31T00:00+14:00")


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_hours_follow_the_clock_of_zones_off_the_full_hour(zone: str) -> None:
    start, end = bounds(WindowRule(WindowKind.HOUR, zone), "2026-01-15T06:20+00:00")
    assert (start[13:19], end[13:19]) == (":00:00", ":00:00")


def test_the_hour_cut_off_by_a_half_hour_change_lasts_half_an_hour() -> None:
    rule = WindowRule(WindowKind.HOUR, "Australia/Lord_Howe")
    assert bounds(rule, "2026-10-04T01:59+10:30") == ("2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00")
    assert bounds(rule, "2026-10-04T02:40+11:00") == ("2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00")
    assert bounds(rule, "2026-04-05T01:40+11:00") == ("2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+10:30")
    assert bounds(rule, "2026-04-05T01:40+10:30") == ("2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30")


def test_an_hour_that_a_change_of_the_zones_offset_cuts_short_ends_there() -> None:
    rule = WindowRule(WindowKind.HOUR, "Asia/Pyongyang")
    assert bounds(rule, "2018-05-04T23:20+08:30") == ("2018-05-04T23:00:00+08:30", "2018-05-05T00:00:00+09:00")


def test_a_midnight_in_the_middle_of_what_the_clocks_skip_counts_where_it_would_have_been() -> None:
    rule = WindowRule(WindowKind.DAY, "America/Toronto")
    assert bounds(rule, "1919-03-31T00:45-04:00") == ("1919-03-30T00:00:00-05:00", "1919-03-31T01:00:00-04:00")
    assert bounds(rule, "1919-03-31T12:00-04:00") == ("1919-03-31T01:00:00-04:00", "1919-04-01T00:00:00-04:00")


def test_a_day_begins_with_the_first_of_two_midnights() -> None:
    rule = WindowRule(WindowKind.DAY, "America/St_Johns")
    day = ("2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30")
    assert bounds(rule, "2010-11-06T23:30-03:30") == bounds(rule, "2010-11-07T00:30-03:30") == day
    assert bounds(rule, "2010-11-06T23:30-02:30")[1] == day[0]


@pytest.mark.parametrize("start_day", range(1, 8))
def test_weeks_start_on_the_day_they_are_told_to(start_day: int) -> None:
    for day in range(1, 15):
        start, _ = bounds(WindowRule(WindowKind.WEEK, start_day=start_day), f"2026-02-{day:02d}T12:00+00:00")
        assert datetime.fromisoformat(start).isoweekday() == start_day


def test_a_month_ends_on_its_last_day_also_in_leap_years() -> None:
    rule = WindowRule(WindowKind.MONTH)
    assert bounds(rule, "2028-02-29T23:59+00:00") == ("2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00")
    assert bounds(rule, "2026-12-31T23:59+00:00") == ("2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00")


def test_a_month_that_starts_late_reaches_into_the_next() -> None:
    rule = WindowRule(WindowKind.MONTH, start_day=28)
    assert bounds(rule, "2028-02-29T12:00+00:00") == ("2028-02-28T00:00:00+00:00", "2028-03-28T00:00:00+00:00")
    assert bounds(rule, "2026-01-27T12:00+00:00") == ("2025-12-28T00:00:00+00:00", "2026-01-28T00:00:00+00:00")


def test_a_leap_day_is_a_day_window_of_its_own() -> None:
    assert bounds(WindowRule(WindowKind.DAY), "2028-02-29T12:00+00:00")[0] == "2028-02-29T00:00:00+00:00"
