"""Columns of a table with their meaning checked: numbers in a range, text, ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from bandit_router_sim.logs.findings import Findings
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.logs.tables import Cells, Table

IS_TEXT = "is text, or null"
IS_SET = "is text and not empty"
IS_ID = "is a text or whole number, not empty"
IS_UNIQUE = "is unique in the log"


@dataclass(frozen=True, slots=True)
class Range:
    """What numbers are allowed besides null: finite ones from `low` to `high`; `rule` says so."""

    rule: str
    low: float
    high: float


SCORE = Range("a score is null or a finite number in [0, 1]", 0.0, 1.0)
COST = Range("a cost is null or a finite number of USD, at least 0", 0.0, np.inf)
TOKENS = Range("a token count is null or a finite number, at least 0", 0.0, np.inf)


def numbers(table: Table, column: str, findings: Findings, allowed: Range) -> FloatArray:
    """The column (n,): NaN where null, or where there is no such column; what is not allowed is noted."""
    cells = _cells(table, column, findings, allowed.rule)
    values = cells.values
    good = np.isfinite(values) & (values >= allowed.low) & (values <= allowed.high)
    for index in np.flatnonzero(~good & ~cells.missing).tolist():
        findings.add(index + 1, column, allowed.rule, repr(float(values[index])))
    return np.where(good & ~cells.missing, values, np.nan)


def texts(table: Table, column: str, findings: Findings) -> list[str]:
    """The column; '' where null, or where there is no such column. What is not text is noted."""
    values = table.objects(column)
    for row, value in enumerate(values, start=1):
        if value is not None and not isinstance(value, str):
            findings.add(row, column, IS_TEXT)
    return [value if isinstance(value, str) else "" for value in values]


def filled_texts(table: Table, column: str, findings: Findings) -> list[str]:
    """The column; null, empty and what is not text are noted."""
    values = table.objects(column)
    for row, value in enumerate(values, start=1):
        if not isinstance(value, str) or not value:
            findings.add(row, column, IS_SET)
    return [value if isinstance(value, str) else "" for value in values]


def unique_ids(table: Table, column: str, findings: Findings) -> list[str]:
    """The column as text. What is no id is noted, and what repeats that of an earlier good row."""
    ids = [_id_text(value) for value in table.objects(column)]
    for row, value in enumerate(ids, start=1):
        if not value:
            findings.add(row, column, IS_ID)
    note_repeats(ids, column, findings)
    return ids


def note_repeats(ids: Sequence[str], column: str, findings: Findings) -> None:
    """Note the rows whose id an earlier row has that is not bad itself: to be called after the other checks."""
    seen: set[str] = set()
    for row, value in enumerate(ids, start=1):
        if findings.is_bad(row):
            continue
        if value in seen:
            findings.add(row, column, IS_UNIQUE)
        seen.add(value)


def _id_text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _cells(table: Table, column: str, findings: Findings, rule: str) -> Cells:
    """The column as floats; what is not a number is noted and missing."""
    cells = table.columns.get(column)
    if isinstance(cells, Cells):
        return cells
    objects = table.objects(column)
    found = [_number(value, untyped=table.untyped) for value in objects]
    for index, value in enumerate(objects):
        if found[index] is None and not _is_null(value, untyped=table.untyped):
            findings.add(index + 1, column, rule, type(value).__name__)
    values = np.asarray([np.nan if number is None else number for number in found], dtype=np.float64)
    return Cells(values, np.asarray([number is None for number in found], dtype=np.bool_))


def _number(value: Any, *, untyped: bool) -> float | None:
    """The value as a float; None if it is no number. Too large is infinite."""
    if not isinstance(value, int | float | Decimal) and not (untyped and isinstance(value, str)):
        return None
    try:
        return float(value)
    except OverflowError:
        return np.inf
    except ValueError:
        return None


def _is_null(value: Any, *, untyped: bool) -> bool:
    return value is None or (untyped and value == "")
