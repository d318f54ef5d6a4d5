"""Fields of an exported event: protobuf's JSON mapping, and the same as parquet columns.

Keys are the field names of `bandit_router.v1.Event`; defaults may be left out; int64 come as text or number, enums by
name, doubles as numbers or as "NaN", "Infinity", "-Infinity", times as RFC 3339 text or, in parquet, as times.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_INT64 = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Fields = Mapping[str, Any]


class BadField(ValueError):
    """A field breaks a rule."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


def text(fields: Fields, field: str) -> str:
    """The text; '' if absent."""
    value = fields.get(field)
    if value is None or isinstance(value, str):
        return value or ""
    raise BadField(field, "is text")


def flag(fields: Fields, field: str) -> bool:
    """The bool; False if absent."""
    value = fields.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadField(field, "is true or false")


def number(fields: Fields, field: str) -> float | None:
    """The double; None if absent."""
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise BadField(field, "is a number")


def integer(fields: Fields, field: str) -> int | None:
    """The int64; None if absent."""
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            whole = int(value)
        except ValueError:
            whole = MAX_INT64 + 1
        if abs(whole) <= MAX_INT64:
            return whole
    raise BadField(field, "is a whole number of 64 bits")


def time_ms(fields: Fields, field: str) -> int | None:
    """The time in milliseconds since 1970; None if absent."""
    value = fields.get(field)
    if value is None:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise BadField(field, "is a time as in RFC 3339") from error
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) // timedelta(milliseconds=1)


def items(fields: Fields, field: str) -> list[Any]:
    """The repeated field; empty if absent."""
    value = fields.get(field)
    if value is None or isinstance(value, list):
        return value or []
    raise BadField(field, "is a list")
